//! The server as kubectl would use it: `LEPTON_TEST_CLIENT_GO` names the program made of `images/boot-tests/go/streaming`,
//! which starts this one again as its server and judges it with client-go. `cargo xtask test` makes that program.
//!
//! As a server it reads requests as lines and writes an address for each:
//! `exec FLAGS COMMAND…`, `attach FLAGS CONTAINER` and `forward PORT…`, where FLAGS are letters of `ioet` (stdin, stdout,
//! stderr, terminal); `lost` writes how many clients' loss commands were told of, `echoed` how many connections ended, `sunk` how many
//! bytes port 17 read.

#![expect(
    clippy::disallowed_methods,
    reason = "this is a test; it starts a program, and is told where that lies"
)]

#[path = "in_process/mod.rs"]
mod in_process;

use std::io::{BufRead, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;

use lepton_runtime_streaming::{
    AttachRequest, ExecRequest, Limits, PortForwardRequest, RequestError, StreamSet, Urls,
};

const CLIENT: &str = "LEPTON_TEST_CLIENT_GO";
/// The word that makes this program a server.
const SERVE: &str = "serve";

fn main() -> std::io::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve().map(|()| ExitCode::SUCCESS);
    }
    let Some(client) = std::env::var_os(CLIENT) else {
        eprintln!("left out: {CLIENT} is not set, so there is no client");
        return Ok(ExitCode::SUCCESS);
    };
    let status = Command::new(client).arg(std::env::current_exe()?).arg(SERVE).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (urls, backend) = runtime.block_on(in_process::start(Limits::default()));
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.as_str() {
            "lost" => backend.lost.load(Ordering::SeqCst).to_string(),
            "sunk" => backend.sunk.load(Ordering::SeqCst).to_string(),
            "echoed" => backend.echoed.load(Ordering::SeqCst).to_string(),
            line => address(line, &urls).unwrap_or_else(|error| format!("error: {error}")),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn address(line: &str, urls: &Urls) -> Result<String, RequestError> {
    let mut words = line.split(' ').map(str::to_owned);
    let call = words.next().unwrap_or_default();
    if call == "forward" {
        let ports = words.filter_map(|port| port.parse().ok()).collect();
        return urls.port_forward(PortForwardRequest { pod_sandbox_id: "pod".to_owned(), ports });
    }
    let flags = words.next().unwrap_or_default();
    let streams = StreamSet {
        stdin: flags.contains('i'),
        stdout: flags.contains('o'),
        stderr: flags.contains('e'),
        tty: flags.contains('t'),
    };
    if call == "attach" {
        let container_id = words.next().unwrap_or_default();
        return urls.attach(AttachRequest { container_id, streams });
    }
    urls.exec(ExecRequest { container_id: "container".to_owned(), command: words.collect(), streams })
}
