//! The cluster's network: one network namespace with a bridge, and a tap device for each node.
//!
//! What holds it is one process in a sandbox; everything else of a cluster enters its network by that process's number.
//! This machine has no route into it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};

use lepton_builder::sandbox::{self, Sandbox};

use super::ClusterError;

/// The machine itself: control plane, registry, and the nodes' gateway (TEST-NET-1, RFC 5737).
pub(crate) const SERVER: &str = "192.0.2.1";
/// Most nodes: their addresses, and that of one which is added, lie between .11 and .100.
pub const MOST_NODES: usize = 89;

/// Makes the network, says so, and stays until its standard input closes. Argument: number of nodes.
const SETUP: &str = "\
ip link set lo up
ip link add br0 type bridge
ip addr add 192.0.2.1/24 dev br0
ip link set br0 up
echo 1 > /proc/sys/net/ipv4/ip_forward
# Pods reach those of other nodes through this machine, although nodes could reach each other directly.
echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
echo 0 > /proc/sys/net/ipv4/conf/br0/send_redirects
node=1
while [ $node -le $1 ]; do
  ip tuntap add dev node$node mode tap
  ip link set node$node master br0 up
  node=$((node + 1))
done
echo up
exec cat";

/// The address of a node; they are counted from 1.
pub(crate) fn address(node: usize) -> String {
    format!("192.0.2.{}", 10 + node)
}

/// The device that leads to it.
pub(crate) fn tap(node: usize) -> String {
    format!("node{node}")
}

/// The network; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Field {
    holder: Child,
}

impl Field {
    /// Makes it, with `sh` and `ip` of the tool tree `tools`.
    pub(crate) fn new(tools: &Path, nodes: usize) -> Result<Self, ClusterError> {
        let sandbox = Sandbox::new(tools, "sh").device("/dev/net/tun");
        let sandbox = sandbox.args(["-ec", SETUP, "field", &nodes.to_string()]);
        let holder = sandbox
            .process()
            .spawn(Stdio::piped(), Stdio::piped(), Stdio::piped())
            .map_err(ClusterError::Start)?;
        let mut field = Self { holder };
        let mut line = String::new();
        if let Some(stdout) = field.holder.stdout.take() {
            // What cannot be read is no "up".
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        if line.trim() == "up" {
            return Ok(field);
        }
        let mut said = String::new();
        if let Some(stderr) = field.holder.stderr.as_mut() {
            let _ = stderr.read_to_string(&mut said);
        }
        Err(ClusterError::Network(said))
    }

    /// The process whose network it is.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A sandbox on this network.
    pub(crate) fn sandbox(&self, tools: &Path, program: &str) -> Sandbox {
        Sandbox::new(tools, program).network(sandbox::Network::Of(self.pid()))
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
