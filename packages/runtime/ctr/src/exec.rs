//! `exec`: another program in a container, through the runtime's streaming server.
//!
//! Always through streams, also without `-i` and `-t`: CRI's other call holds back the output until the end, and cuts it.

use lepton_cri::v1 as cri;

use crate::client::Client;
use crate::failure::Failure;
use crate::find;
use crate::session::{Choice, Session};
use crate::status;

/// Runs a program in a container; gives its exit code.
pub(crate) async fn run(
    client: &Client,
    word: &str,
    command: Vec<String>,
    choice: Choice,
) -> Result<u8, Failure> {
    let entry = find::one(client, word).await?;
    if !entry.runs() {
        return Err(Failure::Ended(word.to_owned()));
    }
    let request = cri::ExecRequest {
        container_id: entry.id().to_owned(),
        cmd: command,
        tty: choice.tty,
        stdin: choice.stdin,
        stdout: true,
        // A terminal has one output.
        stderr: !choice.tty,
    };
    let session = Session::open(&client.exec(request).await?, choice).await?;
    Ok(status::code(&session.talk().await?)?)
}
