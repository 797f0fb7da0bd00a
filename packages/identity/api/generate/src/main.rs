//! `lepton-spiffe-api-generate SPIRE_API_SDK GO_SPIFFE FOLDER`: writes SPIRE's API for agents, from the Go module
//! `github.com/spiffe/spire-api-sdk`, and the SPIFFE Workload API, from `github.com/spiffe/go-spiffe/v2`. The first
//! two are the folders of those modules. It must not run in a build: what it writes is committed.

use std::error::Error;
use std::path::Path;

/// What an agent asks of a SPIRE server. The messages of `spire.api.types` come with them.
const SERVER: [&str; 4] = [
    "spire/api/server/agent/v1/agent.proto",
    "spire/api/server/bundle/v1/bundle.proto",
    "spire/api/server/entry/v1/entry.proto",
    "spire/api/server/svid/v1/svid.proto",
];
/// It names no package; the file that is made is called as its Rust module.
const WORKLOAD: &str = "workload.proto";
const NO_PACKAGE: &str = "_.rs";
/// Messages with keys and tokens: `src/secret.rs` says how they are shown.
const SECRET: [&str; 7] = [
    ".X509SVID",
    ".JWTSVID",
    ".ValidateJWTSVIDRequest",
    ".spire.api.types.AttestationData",
    ".spire.api.types.JoinToken",
    ".spire.api.types.JWTSVID",
    ".spire.api.server.agent.v1.CreateJoinTokenRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sdk, go_spiffe, folder] = &arguments[..] else {
        return Err("usage: lepton-spiffe-api-generate SPIRE_API_SDK GO_SPIFFE FOLDER".into());
    };
    let folder = Path::new(folder);
    // Hosts only ever ask a SPIRE server.
    write(&SERVER, &Path::new(sdk).join("proto"), folder, false)?;
    write(&[WORKLOAD], &Path::new(go_spiffe).join("proto/spiffe/workload"), folder, true)?;
    std::fs::rename(folder.join(NO_PACKAGE), folder.join("workload.rs"))?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            strip(&path)?;
        }
    }
    Ok(())
}

fn write(files: &[&str], include: &Path, folder: &Path, server: bool) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(files, [include])?;
    tonic_prost_build::configure()
        .build_transport(true)
        .build_server(server)
        .btree_map(".")
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .out_dir(folder)
        .compile_fds(descriptors)?;
    Ok(())
}

/// The descriptions' own text is left out: it is in their modules, and would be half of the files.
fn strip(path: &Path) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("///")).map(|line| format!("{line}\n")).collect();
    std::fs::write(path, code)?;
    Ok(())
}
