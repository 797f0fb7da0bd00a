//! A streaming server for foreign clients: reads requests as lines, writes an address for each.
//!
//! `exec FLAGS COMMAND…`, `attach FLAGS CONTAINER` and `forward PORT…`, where FLAGS are letters of `ioet` (stdin, stdout,
//! stderr, terminal); `lost` writes how many clients' loss commands were told of, `echoed` how many connections ended, `sunk` how many
//! bytes port 17 read.

#[path = "../tests/in_process/mod.rs"]
mod in_process;

use std::io::{BufRead, Write};
use std::sync::atomic::Ordering;

use lepton_runtime_streaming::{
    AttachRequest, ExecRequest, Limits, PortForwardRequest, RequestError, StreamSet, Urls,
};

fn main() -> std::io::Result<()> {
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
