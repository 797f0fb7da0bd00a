//! Prints `docs/api.md`: `cargo run -p lepton-host-api --no-default-features --example docs > docs/api.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(lepton_host_api::docs::page().as_bytes())
}
