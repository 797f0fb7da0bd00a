//! `lepton-cri-generate API_PROTO FOLDER`: writes `runtime.v1.rs` from the CRI's `api.proto` (Go module
//! `k8s.io/cri-api`, `pkg/apis/runtime/v1/api.proto`). It must not run in a build: what it writes is committed.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(proto), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: lepton-cri-generate API_PROTO FOLDER".into());
    };
    let proto = Path::new(&proto);
    let include = proto.parent().ok_or("the description has no folder")?;
    let descriptors = protox::compile([proto], [include])?;
    tonic_prost_build::configure()
        .build_transport(true)
        .btree_map(".")
        .emit_rerun_if_changed(false)
        // What the runtime does not do answers UNIMPLEMENTED.
        .generate_default_stubs(true)
        .out_dir(&folder)
        .compile_fds(descriptors)?;
    // The description's own text is left out: it is in its module, and would be a third of the file.
    let path = Path::new(&folder).join("runtime.v1.rs");
    let text = std::fs::read_to_string(&path)?;
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("///")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, code)?;
    Ok(())
}
