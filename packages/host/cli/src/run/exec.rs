//! `lepton exec`: a program in a container of one host. What is typed goes there, what it writes comes here.

use std::io::{self, Read as _, Write as _};

use lepton_host_api::v1 as api;
use lepton_host_api::v1::exec_request::Message as Ask;
use lepton_host_api::v1::exec_response::Message as Answer;
use lepton_runtime_client::terminal::{self, Raw};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::codegen::tokio_stream::Stream;

use super::Call;
use crate::failure::Failure;
use crate::fleet::{Fleet, Host};

/// Bytes of input that are passed on at once: no message may have more.
const CHUNK: usize = 64 * 1024;
/// Messages that wait to be sent: a slow program makes the one who types wait.
const WAITING: usize = 4;
/// What stands for a pod where there is none.
const NO_POD: &str = "-";

/// Runs a program; gives its exit code.
pub(crate) async fn exec(call: &Call<'_>, fleet: &Fleet) -> Result<u8, Failure> {
    if fleet.names().len() != 1 {
        return Err(Failure::Usage("exec is for one host: name it with -n".to_owned()));
    }
    let (stdin, tty) = (call.asked.has("stdin"), call.asked.has("tty"));
    let start = api::ExecStart {
        container: Some(target(call.asked.word(0).unwrap_or_default(), call.asked.value("container"))?),
        command: call.asked.words.get(1..).unwrap_or_default().to_vec(),
        stdin,
        tty,
        size: if tty { size() } else { None },
    };
    let mut answers = fleet.each(async |host| talk(host, start.clone()).await).await;
    answers.pop().map_or(Err(Failure::Short), |(_, answer)| answer)
}

fn target(pod: &str, container: Option<&str>) -> Result<api::ContainerTarget, Failure> {
    let pod = if pod == NO_POD { "" } else { pod };
    if pod.is_empty() && container.is_none() {
        return Err(Failure::Usage("without a pod, -c names the container".to_owned()));
    }
    Ok(api::ContainerTarget { pod: pod.to_owned(), container: container.unwrap_or_default().to_owned() })
}

async fn talk(host: &Host<'_>, start: api::ExecStart) -> Result<u8, Failure> {
    let (send, requests) = mpsc::channel(WAITING);
    let (stdin, tty) = (start.stdin, start.tty);
    let first = api::ExecRequest { message: Some(Ask::Start(start)) };
    send.send(first).await.map_err(|_| Failure::Short)?;
    let mut answers = host.link.client().exec(Requests(requests)).await?.into_inner();
    // Not before the host has agreed: a refusal is read on a terminal that is as it was.
    let _raw = if tty && stdin { Raw::enter() } else { None };
    if tty {
        tokio::spawn(sizes(send.clone()));
    }
    if stdin {
        // A thread, because reading a terminal or a file cannot be waited for. It ends with this program.
        std::thread::spawn(move || type_on(&send));
    } else {
        drop(send);
    }
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(Answer::Stdout(bytes)) => {
                let mut output = io::stdout();
                output.write_all(&bytes).and_then(|()| output.flush()).map_err(Failure::Output)?;
            }
            Some(Answer::Stderr(bytes)) => io::stderr().write_all(&bytes).map_err(Failure::Output)?,
            // Exit codes have a byte, and one that has more is a failure in any case.
            Some(Answer::ExitCode(code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            None => {}
        }
    }
    Err(Failure::Short)
}

/// Passes on what is typed, and its end.
fn type_on(send: &Sender<api::ExecRequest>) {
    let mut input = io::stdin().lock();
    let mut chunk = vec![0; CHUNK];
    loop {
        let message = match input.read(&mut chunk) {
            Ok(0) => Ask::StdinEnd(api::ExecInputEnd {}),
            Ok(count) => Ask::Stdin(chunk[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Ask::StdinEnd(api::ExecInputEnd {}),
        };
        let is_end = matches!(message, Ask::StdinEnd(_));
        if send.blocking_send(api::ExecRequest { message: Some(message) }).is_err() || is_end {
            return;
        }
    }
}

/// Sends the size of the window whenever it changes.
async fn sizes(send: Sender<api::ExecRequest>) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    while changed.recv().await.is_some() {
        let Some(size) = size() else { continue };
        if send.send(api::ExecRequest { message: Some(Ask::Size(size)) }).await.is_err() {
            return;
        }
    }
}

fn size() -> Option<api::WindowSize> {
    terminal::size().map(|(columns, rows)| api::WindowSize { columns: columns.into(), rows: rows.into() })
}

/// Messages of ours, one after the other.
struct Requests(Receiver<api::ExecRequest>);

impl Stream for Requests {
    type Item = api::ExecRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
