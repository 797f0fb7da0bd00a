//! A machine config that is fetched over HTTP, and what a host does when it cannot be.

use std::fs;

use lepton_builder::digest::Digest;

use super::effects::services;
use super::{check, kernel_words};
use crate::Context;
use crate::context::TestError;
use crate::machine::Network;

/// The web server of [`Network::Served`].
const SERVER: &str = "http://10.0.2.100";

/// What is fetched has its place in the order of sources: after the words of the command line, which names the URL, and
/// before fw_cfg.
const FETCHED: &str = r#"
hostname = "edge-url"
nonsense = 1
[network]
dns = ["192.0.2.53"]
[watchdog]
timeout-s = 60
[[files]]
path = "/etc/url"
content = "from the URL"
[[services]]
name = "fetched"
command = ["/usr/bin/lepton", "logs", "-f", "config"]
"#;
/// The service of this config is gone once the other one is there.
const LOW: &str = r#"
hostname = "edge-low"
[time]
servers = ["192.0.2.123"]
[[services]]
name = "low"
command = ["/usr/bin/lepton", "logs", "-f", "config"]
"#;

/// Fetched before the ready line, checked against its digest, merged at its place and applied.
pub(in super::super) fn url(cx: &Context) -> Result<(), TestError> {
    let digest = Digest::of(FETCHED.as_bytes());
    let words = format!("lepton.config={SERVER}/edge-1.toml#sha256={digest}");
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("edge-1.toml");
    fs::write(&path, FETCHED).map_err(TestError::file("write", &path))?;
    let machine = kernel_words(cx, &words)?.network(Network::Served { dir: dir.path().to_owned() });
    let mut guest = cx.start(&machine.fw_cfg("opt/lepton/config", LOW))?;
    let ready = guest.wait_ready()?;
    let errors = ["url:3: nonsense: unknown key", "url: watchdog: "];
    check(&guest, &ready, "url", &["fw_cfg", "url", "cmdline"], &errors)?;
    let wanted = [("network", "ready"), ("fetched", "ready"), ("low", "stopped")];
    services(&guest, &ready, &wanted)?;
    Ok(guest.power_off()?)
}

/// An address where nobody is: the host is ready without, and says why.
pub(in super::super) fn unreachable(cx: &Context) -> Result<(), TestError> {
    let machine =
        kernel_words(cx, "lepton.config=http://192.0.2.9/edge-1.toml?key=secret lepton.hostname=edge-word")?;
    let mut guest = cx.start(&machine.network(Network::Isolated))?;
    let ready = guest.wait_ready()?;
    let error = "url: cannot fetch http://192.0.2.9/edge-1.toml: cannot connect to 192.0.2.9:80: ";
    check(&guest, &ready, "word", &["cmdline"], &[error])?;
    services(&guest, &ready, &[("network", "ready"), ("config", "ready")])?;
    Ok(guest.power_off()?)
}
