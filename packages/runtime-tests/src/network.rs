//! What must hold of pods with a network of their own: they reach the host, and the host reaches them.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::host::PATIENCE;
use crate::judge::holds;
use crate::pods::{Client, PodConfig};

/// The host's address in the pods' network.
const GATEWAY: &str = "10.85.0.1";
/// What the host says to a container that calls.
const GREETING: &str = "welcome";
/// A port of the host that leads to one of a pod.
const HOST_PORT: u16 = 8080;
const POD_PORT: u16 = 80;

/// A container in a network of its own reaches the host, which sees the pod's address.
pub(crate) fn pod(tokio: &Runtime) -> Result<String, String> {
    let listener = TcpListener::bind("0.0.0.0:0").map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    let answering = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept()?;
        stream.write_all(GREETING.as_bytes())?;
        Ok::<_, io::Error>(from.ip().to_string())
    });
    let (addresses, log) = tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::own_network("pod-network")).await?;
        let addresses = client.addresses(&pod).await?;
        let script = format!("ip link show lo; ip addr show eth0; nc {GATEWAY} {port}; echo");
        let container = client.start(&pod, "call", &script).await?;
        let (code, log) = client.end(&container).await?;
        client.remove(pod).await?;
        holds(code == 0, || format!("code {code}, log {log:?}"))?;
        Ok::<_, String>((addresses, log))
    })?;
    let [four, six] = &addresses[..] else { return Err(format!("the pod has {addresses:?}")) };
    let is_told = [GREETING, four, six, "<LOOPBACK,UP"].iter().all(|part| log.contains(part));
    holds(is_told && six.starts_with("fd00:85::"), || format!("{addresses:?}, log {log:?}"))?;
    let from = answering.join().map_err(|_| "the host's answer ended early")?.map_err(text)?;
    holds(&from == four, || format!("the host saw {from}, the pod has {four}"))?;
    Ok(format!("addresses={four},{six}"))
}

/// A port of the host leads into a pod, on the loopback address and on the bridge's, and no more when the pod is gone.
pub(crate) fn host_port(tokio: &Runtime) -> Result<String, String> {
    let pod = tokio.block_on(async {
        let mut client = Client::connect().await?;
        let config = PodConfig::own_network("host-port").with_port(HOST_PORT, POD_PORT);
        let pod = client.pod(&config).await?;
        let script =
            format!("mkdir /www; echo served > /www/index.html; exec httpd -f -p {POD_PORT} -h /www");
        client.start(&pod, "serve", &script).await?;
        Ok::<_, String>(pod)
    })?;
    for host in ["127.0.0.1", GATEWAY] {
        let start = Instant::now();
        let mut answer = get(host, HOST_PORT);
        while answer.is_err() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(100));
            answer = get(host, HOST_PORT);
        }
        let text = answer.map_err(|error| format!("{host}: {error}"))?;
        holds(text.ends_with("\r\n\r\nserved\n"), || format!("{host}: {text:?}"))?;
    }
    tokio.block_on(async { Client::connect().await?.remove(pod).await })?;
    let after = get("127.0.0.1", HOST_PORT);
    holds(after.is_err(), || format!("the port still answers: {after:?}"))?;
    Ok(format!("port={HOST_PORT}"))
}

/// What a web server there answers.
pub(crate) fn get(host: &str, port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // The pod's side is not listening yet when it closes the connection without a word.
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn text(error: io::Error) -> String {
    error.to_string()
}
