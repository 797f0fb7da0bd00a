//! Who calls, and whether they may.

use std::net::SocketAddr;
use std::sync::Arc;

use lepton_host_api::roles::{Method, Role};
use lepton_spiffe::{CertificateDer, UnixSeconds};
use tonic::Status;

use crate::trust::{Distrust, judge};
use crate::trusted::Trusted;

/// Who has a connection; calls carry it along.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Somebody on the network.
    Remote {
        /// The certificates that they showed, their own first.
        chain: Arc<Vec<CertificateDer<'static>>>,
        /// Where they are.
        address: SocketAddr,
    },
    /// A process of this host.
    Local {
        /// Its user.
        uid: u32,
        /// Itself.
        pid: Option<i32>,
    },
}

/// A caller who may call, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Their SPIFFE ID, or `uid:` and the number of the user.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The address, or `pid:` and the number of the process.
    pub(crate) peer: String,
    /// When their certificate ends, if they need one.
    pub(crate) until: Option<UnixSeconds>,
}

/// A caller who may not.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Who they are, if that is proved.
    pub(crate) name: Option<String>,
    pub(crate) status: Status,
}

impl Caller {
    /// Where they are, for records.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Remote { address, .. } => address.to_string(),
            Self::Local { pid, .. } => pid.map_or_else(|| "local".to_owned(), |pid| format!("pid:{pid}")),
        }
    }

    /// Who they are and what they may do, by what is believed now: certificates expire, and authorities are taken away,
    /// while a connection is open.
    pub(crate) fn admit(&self, trusted: &Trusted, root: u32, now: UnixSeconds) -> Result<Admitted, Refused> {
        match self {
            Self::Local { uid, .. } => {
                let name = format!("uid:{uid}");
                if *uid != root {
                    let status = Status::permission_denied("only root may call on the local socket");
                    return Err(Refused { name: Some(name), status });
                }
                Ok(Admitted { name, role: Role::Admin, peer: self.peer(), until: None })
            }
            Self::Remote { chain, .. } => {
                let judged = match trusted.bundle() {
                    Some(bundle) => judge(chain, &bundle, now),
                    None => {
                        let status = Status::unauthenticated("the host believes nobody at the moment");
                        return Err(Refused { name: None, status });
                    }
                };
                match judged {
                    Ok(known) => Ok(Admitted {
                        name: known.id.to_string(),
                        role: known.role,
                        peer: self.peer(),
                        until: Some(known.until),
                    }),
                    Err(distrust) => {
                        let name = distrust.id().map(ToString::to_string);
                        let status = match distrust {
                            Distrust::NoRole { .. } => Status::permission_denied(distrust.to_string()),
                            _ => Status::unauthenticated(distrust.to_string()),
                        };
                        Err(Refused { name, status })
                    }
                }
            }
        }
    }
}

impl Admitted {
    /// Whether the role is enough for a method.
    pub(crate) fn may(&self, method: &Method) -> Result<(), Status> {
        if self.role >= method.role {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{} needs the role {}, and {} has the role {}",
            method.name, method.role, self.name, self.role
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lepton_host_api::roles;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        for role in Role::ALL {
            let admitted = Admitted { name: "x".to_owned(), role, peer: String::new(), until: None };
            for method in &roles::METHODS {
                assert_eq!(admitted.may(method).is_ok(), role >= method.role, "{role} {}", method.name);
            }
        }
        let name = "spiffe://a/role/reader".to_owned();
        let reader = Admitted { name, role: Role::Reader, peer: String::new(), until: None };
        let status = reader.may(roles::method("/lepton.host.v1.Host/Reset").unwrap()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(
            status.message(),
            "Reset needs the role admin, and spiffe://a/role/reader has the role reader"
        );
    }

    #[test]
    fn on_the_local_socket_root_alone() {
        let trusted = Trusted::default();
        let local = |uid| Caller::Local { uid, pid: Some(7) }.admit(&trusted, 0, 0);
        assert_eq!(
            local(0).unwrap(),
            Admitted { name: "uid:0".into(), role: Role::Admin, peer: "pid:7".into(), until: None }
        );
        assert_eq!(local(1000).unwrap_err().status.code(), tonic::Code::PermissionDenied);
    }
}
