//! The host's X.509-SVID for the service `logs`, from the SPIFFE Workload API, which says so whenever it is another one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lepton_spiffe_api::workload::X509svidRequest;
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::say::say;

/// Before the API is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Svid {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// What the host shows.
#[derive(Clone, Debug)]
pub struct Identity(watch::Receiver<Option<Arc<Svid>>>);

impl Identity {
    /// Asks the Workload API at that socket from now on.
    pub fn start(socket: PathBuf) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let mut said = String::new();
            loop {
                let text = follow(&socket, &sender).await.map_or_else(|why| why, |()| String::new());
                if text != said {
                    say(format_args!("no X.509-SVID from {}: {text}", socket.display()));
                    said = text;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        Self(receiver)
    }

    pub(super) fn current(&self) -> Option<Arc<Svid>> {
        self.0.borrow().clone()
    }
}

async fn follow(socket: &Path, sender: &watch::Sender<Option<Arc<Svid>>>) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
    let channel = endpoint.map_err(|error| error.to_string())?.connect().await;
    let channel = channel.map_err(|error| error.to_string())?;
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let refused = |status: Status| {
        // What was shown is no longer given to this service.
        if status.code() == tonic::Code::PermissionDenied {
            sender.send_replace(None);
        }
        format!("{:?}: {}", status.code(), status.message())
    };
    let stream = SpiffeWorkloadApiClient::new(channel).fetch_x509svid(request).await;
    let mut stream = stream.map_err(refused)?.into_inner();
    while let Some(answer) = stream.message().await.map_err(refused)? {
        // The first one is a workload's default identity (SPIFFE Workload API, section 5.2.1).
        let svid = answer.svids.into_iter().next().map(|svid| {
            let chain = certificates(&svid.x509_svid).into_iter().map(CertificateDer::from).collect();
            let key = PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone());
            Arc::new(Svid { chain, key: key.into() })
        });
        sender.send_replace(svid);
    }
    Ok(())
}

/// Parts one certificate after the other in DER: each is a SEQUENCE with its length.
fn certificates(mut der: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(len) = sequence(der).filter(|len| *len <= der.len()) {
        let (one, rest) = der.split_at(len);
        found.push(one.to_vec());
        der = rest;
    }
    found
}

/// Bytes of the SEQUENCE at the beginning, its own head included (X.690 section 8.1.3).
fn sequence(der: &[u8]) -> Option<usize> {
    if *der.first()? != 0x30 {
        return None;
    }
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some(2 + first);
    }
    let digits = first & 0x7f;
    if !(1..=4).contains(&digits) {
        return None;
    }
    let len = der.get(2..2 + digits)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Some(2 + digits + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_one_after_the_other() {
        let short = [&[0x30, 3][..], b"abc"].concat();
        let long = [&[0x30, 0x82, 1, 0][..], &[7; 256]].concat();
        let both = [short.clone(), long.clone()].concat();
        assert_eq!(certificates(&both), [short.clone(), long]);
        assert_eq!(certificates(&both[..both.len() - 1]), [short]);
        for bad in [&b""[..], b"\x31\x00", b"\x30", b"\x30\x80", b"\x30\x85\x01\x01\x01\x01\x01", b"\x30\x81"]
        {
            assert!(certificates(bad).is_empty(), "{bad:?}");
        }
    }
}
