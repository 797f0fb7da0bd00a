//! Attestor `lepton`: the service of PID 1 that a process belongs to, `lepton:service:web`, and its cgroup,
//! `lepton:cgroup:/lepton/web`.
//!
//! The kernel says in which cgroup the process is, which nobody but root can choose; PID 1 says over its control socket that
//! the cgroup is one of its services' and that the service runs. The same program started elsewhere is in another cgroup.

use std::path::PathBuf;

use super::{Attestor, Finding, Found, Subject};
use crate::control::Control;
use crate::origin::{Origin, SERVICES, is_below, service_of};

const NAME: &str = "lepton";

/// The attestor.
#[derive(Debug)]
pub struct Lepton {
    control: Control,
}

impl Lepton {
    /// The attestor that asks PID 1 at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { control: Control::new(socket) }
    }
}

impl Default for Lepton {
    fn default() -> Self {
        Self::new(lepton_control::SOCKET.into())
    }
}

impl Attestor for Lepton {
    fn name(&self) -> &'static str {
        NAME
    }

    fn attest<'a>(&'a self, subject: &'a Subject<'a>) -> Finding<'a> {
        Box::pin(async move {
            let mut found = Found::default();
            let Origin::Host { cgroup } = subject.origin else { return found };
            let Some(name) = service_of(cgroup) else { return found };
            let main = match self.control.main_process(name).await {
                Ok(main) => main,
                Err(error) => {
                    return Found::later(format!("cannot ask PID 1 for the service {name}: {error}"));
                }
            };
            let Some(main) = main else {
                found.fail(format!("PID 1 runs no service {name}"), false);
                return found;
            };
            // PID 1 names the process that it started: that one's cgroup is the service's.
            let top = format!("{SERVICES}/{name}");
            match subject.host.cgroup(main) {
                Ok(Some(of_main)) if is_below(&of_main, &top) => {
                    found.add(NAME, "service", name);
                    found.add(NAME, "cgroup", cgroup);
                }
                Ok(_) => {
                    found.fail(format!("process {main} of the service {name} is not in its cgroup"), false)
                }
                Err(error) => {
                    found.fail(format!("cannot read the cgroup of the service {name}: {error}"), true)
                }
            }
            found
        })
    }
}
