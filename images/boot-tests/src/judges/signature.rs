//! The signature of the list of digests by minisign itself: with a key that it made, it accepts our signature of the
//! list, and of no other list.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lepton_builder::manifest::SUMS;
use lepton_builder::sandbox::Sandbox;
use lepton_builder::sign::{SIGNATURE, SigningKey};

use super::case::{Defect, hold, scratch};
use super::{Verdict, refuse, tool};
use crate::Context;
use crate::context::TestError;

const JUDGE: &str = "minisign";

/// Signs a copy of the list; the folder of artifacts stays as it is.
pub(super) fn minisign(cx: &Context) -> Verdict {
    let dir = scratch()?;
    let program = || Sandbox::new(&cx.tools, JUDGE).writable(dir.path(), "/work");
    // Without a password: with one it asks a terminal.
    tool::ask(JUDGE, &program().args(["-G", "-W", "-s", "/work/secret", "-p", "/work/public"]))?;
    let (secret, list) = (dir.path().join("secret"), dir.path().join(SUMS));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
        .map_err(TestError::file("change", &secret))?;
    let artifacts = cx.artifacts.join(SUMS);
    fs::copy(&artifacts, &list).map_err(TestError::file("copy", artifacts))?;
    let signed = SigningKey::load(&secret, None).and_then(|key| key.sign(dir.path()));
    signed.map_err(|error| refuse(JUDGE, format!("{error}: {:?}", std::error::Error::source(&error))))?;
    let judge = |list: &Path| {
        let verify = tool::on(cx, JUDGE, list).read_only(dir.path(), "/work");
        let verify = verify.args(["-V", "-p", "/work/public", "-x"]).arg(format!("/work/{SIGNATURE}"));
        tool::ask(JUDGE, &verify.arg("-m").arg(tool::shown(list))).map(drop)
    };
    hold(&list, &judge, &[Defect::new("a changed digest", &|copy| copy.flip(0))])
}
