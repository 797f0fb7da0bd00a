//! Programs in containers: a caller's stream on one side, the runtime's streaming server (WebSocket, `v5.channel.k8s.io`) on
//! the other.

use lepton_cri::v1 as cri;
use lepton_host_api::v1 as api;
use lepton_host_api::v1::exec_request::Message;
use lepton_host_api::v1::exec_response::Message as Said;
use lepton_runtime_client::failure::Failure;
use lepton_runtime_client::status;
use lepton_runtime_client::websocket::{self, BINARY, CLOSE, Frame, PING, PONG, Reader, WebSocketError};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::Sender;
use tonic::{Request, Status, Streaming};

use super::workloads::failed;
use super::{Answer, Methods};
use crate::feed::{Feed, send};
use crate::record::Record;

/// The protocol whose input has an end.
const PROTOCOL: &str = "v5.channel.k8s.io";
/// Its channels.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// Before the number of a channel that has ended.
const ENDED: u8 = 255;
/// Input of one message.
const LONGEST: usize = 64 * 1024;
/// Arguments of a program, with their ends: more is no command line (execve(2)).
const LONGEST_COMMAND: usize = 128 * 1024;

impl Methods {
    pub(super) async fn run_program(
        &self,
        mut request: Request<Streaming<api::ExecRequest>>,
    ) -> Answer<Feed<api::ExecResponse>> {
        let first = request.get_mut().message().await?;
        let start = match first.and_then(|first| first.message) {
            Some(Message::Start(start)) => start,
            _ => return Err(Status::invalid_argument("the first message starts a program")),
        };
        let target = start.container.clone().unwrap_or_default();
        // What a program is given may be secret; its name is not.
        let arguments = json!({
            "pod": target.pod, "container": target.container, "program": start.command.first(),
            "arguments": start.command.len().saturating_sub(1), "tty": start.tty,
        });
        let mut record = Record::new(&request, "Exec", arguments)?;
        match self.begin(&start, &target).await {
            Ok((id, reader, writer)) => {
                record.add("id", id);
                let input = request.into_inner();
                Ok(Feed::response(|answers| async move {
                    let ended = converse(reader, writer, input, start, &answers).await;
                    if let Ok(code) = ended {
                        record.add("exit-code", code);
                    }
                    record.write(ended.as_ref().map(drop));
                    ended.map(drop)
                }))
            }
            Err(status) => {
                record.write(Err(&status));
                Err(status)
            }
        }
    }

    async fn begin(
        &self,
        start: &api::ExecStart,
        target: &api::ContainerTarget,
    ) -> Result<(String, Reader, OwnedWriteHalf), Status> {
        check(&start.command)?;
        let container = self.find_container(target).await?;
        if container.state() != cri::ContainerState::ContainerRunning {
            return Err(Status::failed_precondition("the container does not run"));
        }
        let request = cri::ExecRequest {
            container_id: container.id.clone(),
            cmd: start.command.clone(),
            tty: start.tty,
            stdin: start.stdin,
            stdout: true,
            // A terminal has one output.
            stderr: !start.tty,
        };
        let url = self.runtime()?.exec(request).await.map_err(|error| failed(&error))?;
        let (reader, writer) =
            websocket::connect(&url, PROTOCOL).await.map_err(|error| broken(error.into()))?;
        Ok((container.id, reader, writer))
    }
}

/// Whether a command line can be run at all.
pub(crate) fn check(command: &[String]) -> Result<(), Status> {
    let bytes: usize = command.iter().map(|word| word.len() + 1).sum();
    match command.first() {
        None => Err(Status::invalid_argument("name a program")),
        Some(program) if program.is_empty() => Err(Status::invalid_argument("the program's name is empty")),
        _ if bytes > LONGEST_COMMAND => Err(Status::invalid_argument("the command line is too long")),
        _ if command.iter().any(|word| word.contains('\0')) => {
            Err(Status::invalid_argument("the command line has a NUL byte"))
        }
        _ => Ok(()),
    }
}

/// Passes on what both sides say until the program has ended; gives its code.
async fn converse(
    mut reader: Reader,
    mut writer: OwnedWriteHalf,
    mut input: Streaming<api::ExecRequest>,
    start: api::ExecStart,
    answers: &Sender<api::ExecResponse>,
) -> Result<u8, Status> {
    if let Some(size) = start.size.filter(|_| start.tty) {
        write(&mut writer, BINARY, &resize(&size)).await?;
    }
    let (mut said, mut channel) = (Vec::new(), None);
    let mut has_input = true;
    loop {
        tokio::select! {
            frame = reader.next() => match frame.map_err(|error| broken(error.into()))? {
                None => break,
                Some(Frame { opcode: CLOSE, .. }) => break,
                Some(Frame { opcode: PING, payload }) => write(&mut writer, PONG, &payload).await?,
                Some(Frame { opcode: PONG, .. }) => {}
                Some(Frame { opcode, payload }) => {
                    let bytes = match (opcode, payload.split_first()) {
                        (0, _) => &payload[..],
                        (_, Some((number, bytes))) => {
                            channel = Some(*number);
                            bytes
                        }
                        (_, None) => return Err(broken(WebSocketError::Protocol("a message has no channel").into())),
                    };
                    let message = match channel {
                        Some(STDOUT) => Said::Stdout(bytes.to_vec()),
                        Some(STDERR) => Said::Stderr(bytes.to_vec()),
                        Some(STATUS) => {
                            said.extend_from_slice(bytes);
                            continue;
                        }
                        // That another channel has ended is known from the end of all.
                        _ => continue,
                    };
                    if !bytes.is_empty() && !send(answers, api::ExecResponse { message: Some(message) }).await {
                        return Err(Status::cancelled("the caller has gone"));
                    }
                }
            },
            message = input.message(), if has_input => {
                // A caller who says no more still listens.
                let Some(message) = message? else {
                    has_input = false;
                    continue;
                };
                if let Some(payload) = payload(message, &start)? {
                    write(&mut writer, BINARY, &payload).await?;
                }
            }
        }
    }
    let code = status::code(&said).map_err(broken)?;
    send(answers, api::ExecResponse { message: Some(Said::ExitCode(code.into())) }).await;
    Ok(code)
}

/// What a message is to the streaming server; nothing when there is nothing to say.
pub(crate) fn payload(message: api::ExecRequest, start: &api::ExecStart) -> Result<Option<Vec<u8>>, Status> {
    match message.message {
        Some(Message::Stdin(bytes)) if bytes.len() > LONGEST => {
            Err(Status::invalid_argument(format!("a message has at most {LONGEST} bytes of input")))
        }
        Some(Message::Stdin(_) | Message::StdinEnd(_)) if !start.stdin => {
            Err(Status::invalid_argument("the program was started without an input"))
        }
        Some(Message::Stdin(bytes)) if bytes.is_empty() => Ok(None),
        Some(Message::Stdin(bytes)) => Ok(Some([&[STDIN][..], &bytes].concat())),
        Some(Message::StdinEnd(_)) => Ok(Some(vec![ENDED, STDIN])),
        Some(Message::Size(size)) if start.tty => Ok(Some(resize(&size))),
        Some(Message::Size(_)) => Err(Status::invalid_argument("the program was started without a terminal")),
        Some(Message::Start(_)) => Err(Status::invalid_argument("the program was started already")),
        None => Err(Status::invalid_argument("the message says nothing")),
    }
}

fn resize(size: &api::WindowSize) -> Vec<u8> {
    let bound = |number: u32| number.min(u32::from(u16::MAX));
    let mut payload = vec![RESIZE];
    payload.extend(format!("{{\"Width\":{},\"Height\":{}}}", bound(size.columns), bound(size.rows)).bytes());
    payload
}

async fn write(writer: &mut OwnedWriteHalf, opcode: u8, payload: &[u8]) -> Result<(), Status> {
    let frame = websocket::encode(opcode, payload).map_err(|error| broken(error.into()))?;
    writer
        .write_all(&frame)
        .await
        .map_err(|error| Status::unavailable(format!("the runtime has gone: {error}")))
}

fn broken(failure: Failure) -> Status {
    match &failure {
        // There is no such program, or it may not be run.
        Failure::Exec(why) => Status::failed_precondition(why.clone()),
        other => failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let start = api::ExecStart { stdin: true, ..Default::default() };
        let of = |message| payload(api::ExecRequest { message }, &start).map_err(|status| status.code());
        let invalid = Err(tonic::Code::InvalidArgument);
        assert_eq!(of(Some(Message::Stdin(b"ab".to_vec()))), Ok(Some(b"\0ab".to_vec())));
        assert_eq!(of(Some(Message::Stdin(Vec::new()))), Ok(None));
        assert_eq!(of(Some(Message::StdinEnd(api::ExecInputEnd {}))), Ok(Some(vec![255, 0])));
        assert_eq!(of(Some(Message::Stdin(vec![0; LONGEST + 1]))), invalid);
        assert_eq!(of(Some(Message::Start(start.clone()))), invalid);
        assert_eq!(of(None), invalid);
        let size = api::WindowSize { columns: 80, rows: 1_000_000 };
        assert_eq!(of(Some(Message::Size(size))), invalid);
        assert_eq!(resize(&size), b"\x04{\"Width\":80,\"Height\":65535}");
    }

    #[test]
    fn command_lines() {
        let check =
            |words: &[&str]| check(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).is_ok();
        assert!(check(&["sh", "-c", ""]));
        for bad in [&[][..], &[""], &["a", "b\0c"]] {
            assert!(!check(bad), "{bad:?}");
        }
        assert!(!check(&["a", &"b".repeat(LONGEST_COMMAND)]));
    }
}
