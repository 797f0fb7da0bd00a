//! Membership in a cluster: what kubelet needs to reach its API server, and nothing of another cluster.

mod discovery;
mod http;
mod kubeconfig;
mod membership;
mod pin;

use std::time::Duration;

use crate::failure::Failure;
use crate::files;
use crate::pki::Pki;
use crate::places::Places;
use crate::role::Role;

/// First wait before the API server is asked again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// The ready line of the host waits so long for an API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gets everything ready for kubelet to take its role as `node_name`; waits for the API server when it must be asked.
pub(crate) fn prepare(role: &Role, node_name: &str, places: &Places) -> Result<(), Failure> {
    membership::keep_or_forget(role, node_name, places)?;
    match role {
        Role::Alone => Pki::new()?.write(places),
        Role::Kubeconfig(text) => {
            let ca = kubeconfig::authority(text)?;
            files::write(&places.client_ca(), ca.as_bytes())?;
            files::write(&places.kubeconfig(), text.as_bytes()).map(|_| ())
        }
        Role::Identity { server, ca_hash, audience } => {
            if !places.identity.exists() {
                let message = "this image has no package \"identity\"".to_owned();
                return Err(Failure::Config { key: "identity", message });
            }
            let ca = authority(server, ca_hash, places)?;
            let text = kubeconfig::with_identity(server, &ca, &places.identity, audience);
            files::write(&places.kubeconfig(), text.as_bytes()).map(|_| ())
        }
        Role::Token { server, token, ca_hash } => {
            let ca = authority(server, ca_hash, places)?;
            let text = kubeconfig::with_token(server, &ca, token);
            files::write(&places.bootstrap(), text.as_bytes()).map(|_| ())
        }
    }
}

/// The cluster's authority; it is asked for once, so that a node that has joined starts without its API server, too.
fn authority(server: &str, ca_hash: &str, places: &Places) -> Result<String, Failure> {
    let kept = places.certificates().join("cluster-ca.pem");
    let ca = match std::fs::read_to_string(&kept) {
        Ok(ca) => ca,
        Err(_) => wait_for(server, || discovery::authority(server, ca_hash)),
    };
    files::make_folder(&places.certificates())?;
    files::write(&kept, ca.as_bytes())?;
    files::write(&places.client_ca(), ca.as_bytes())?;
    Ok(ca)
}

/// Tries until it works: servers and networks come back.
fn wait_for<T, E: std::fmt::Display>(server: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let (mut wait, mut waited, mut said) = (FIRST_WAIT, Duration::ZERO, String::new());
    loop {
        let error = match attempt() {
            Ok(value) => return value,
            Err(error) => error.to_string(),
        };
        if error != said {
            eprintln!("kubelet-agent: {server}: {error}; trying again");
            lepton_notify::status(&format!("waiting for {server}: {error}"));
            said = error;
        }
        std::thread::sleep(wait);
        let is_over = waited >= PATIENCE;
        waited += wait;
        wait = (wait * 2).min(LONGEST_WAIT);
        if waited >= PATIENCE && !is_over {
            lepton_notify::ready();
        }
    }
}
