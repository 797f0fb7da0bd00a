//! `exec`: another program in a container of a pod, through the runtime's streaming server.

use lepton_cri::v1 as cri;
use lepton_runtime_client::session::{Choice, Session};
use lepton_runtime_client::status;

use crate::choose;
use crate::failure::Failure;
use crate::list::{self, Host};
use crate::logs::attempts;
use crate::options::Name;

/// Runs a program in a container; gives its exit code.
pub(crate) async fn run(
    host: &Host,
    namespace: Option<&str>,
    name: &Name,
    command: Vec<String>,
    choice: Choice,
) -> Result<u8, Failure> {
    let list = list::all(host).await?;
    let pod = choose::pod(&list.pods, namespace, name)?;
    let container = choose::container(pod, name)?;
    let known = attempts(host, pod, container).await?;
    let running = known.iter().find(|one| one.state() == cri::ContainerState::ContainerRunning);
    let running = running.ok_or_else(|| Failure::Absent {
        pod: pod.name.clone(),
        container: container.to_owned(),
        state: "does not run; \"lepton pods\" says why, and \"lepton pods logs\" what it wrote",
    })?;
    let request = cri::ExecRequest {
        container_id: running.id.clone(),
        cmd: command,
        tty: choice.tty,
        stdin: choice.stdin,
        stdout: true,
        // A terminal has one output.
        stderr: !choice.tty,
    };
    let session = Session::open(&host.client.exec(request).await?, choice).await?;
    Ok(status::code(&session.talk().await?)?)
}
