//! Asks kubelet of this host for its pods, with the certificates that it makes for programs of the host
//! (docs/kubelet.md). What a list says is for others to read.
#![forbid(unsafe_code)]

mod kubelet;
mod tls;

pub use kubelet::{Kubelet, KubeletError, List};
pub use tls::TlsError;
