//! The host's own X.509-SVID and its bundle, from the SPIFFE Workload API (`FetchX509SVID`), again and again as they are
//! rotated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lepton_spiffe::{Bundle, BundleError, CertificateDer, PrivateKey, X509Svid, X509SvidError};
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lepton_spiffe_api::workload::{X509svid, X509svidRequest};
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::log::say;
use crate::trusted::{Own, Trusted};

/// SPIFFE Workload Endpoint section 6.
const HEADER: &str = "workload.spiffe.io";
/// Between attempts: the first, and the longest.
const FIRST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Why an answer of the Workload API is no good.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("it has no SVID")]
    Nothing,
    #[error("it is no list of certificates")]
    List,
    #[error(transparent)]
    Svid(#[from] X509SvidError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Keeps what is known of the host's own identity as the Workload API has it, for good.
pub(crate) async fn follow(socket: &Path, trusted: &Trusted) {
    let (mut rest, mut said) = (FIRST_REST, String::new());
    loop {
        let status = match watch(socket, trusted, &mut rest).await {
            Ok(()) => Status::unavailable("the identity agent has ended the stream"),
            Err(status) => status,
        };
        // A workload without an identity is told so; while the agent is away, what there is is good until it expires.
        if status.code() == Code::PermissionDenied {
            trusted.set_own(None);
        }
        if status.message() != said {
            said = status.message().to_owned();
            say(format_args!("no identity from {}: {said}", socket.display()));
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

async fn watch(socket: &Path, trusted: &Trusted, rest: &mut Duration) -> Result<(), Status> {
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
        .map_err(|error| Status::unavailable(error.to_string()))?
        .connect()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true"));
    let mut stream = SpiffeWorkloadApiClient::new(channel).fetch_x509svid(request).await?.into_inner();
    while let Some(answer) = stream.message().await? {
        *rest = FIRST_REST;
        // Of several the first is the default (Workload API section 5.2.1).
        let own = answer.svids.first().ok_or(AnswerError::Nothing).and_then(own);
        match own {
            Ok(own) => {
                say(format_args!("the host is {} until {}", own.svid.id, own.svid.not_after));
                trusted.set_own(Some(own));
            }
            // What there is stays.
            Err(error) => say(format_args!("the Workload API's answer cannot be used: {error}")),
        }
    }
    Ok(())
}

fn own(svid: &X509svid) -> Result<Own, AnswerError> {
    let chain = certificates(&svid.x509_svid).ok_or(AnswerError::List)?;
    let key = PrivateKey::from_pkcs8(svid.x509_svid_key.clone());
    let own = X509Svid::new(chain, key, &svid.hint)?;
    let mut bundle = Bundle::empty(own.id.trust_domain().clone());
    for authority in certificates(&svid.bundle).ok_or(AnswerError::List)? {
        bundle.add(authority)?;
    }
    Ok(Own { svid: Arc::new(own), bundle: Arc::new(bundle) })
}

/// Certificates in DER, one after the other: each is a SEQUENCE (X.690 section 8.1).
pub(crate) fn certificates(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while let [0x30, first, rest @ ..] = bytes {
        let (head, length) = match first {
            0..=0x7f => (2, usize::from(*first)),
            0x81 => (3, usize::from(*rest.first()?)),
            0x82 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            // More than 64 KiB is no certificate.
            _ => return None,
        };
        let (one, others) = bytes.split_at_checked(head + length)?;
        found.push(CertificateDer::from(one.to_vec()));
        bytes = others;
    }
    bytes.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, DOMAIN, Leaf};

    #[test]
    fn answers() {
        let authority = Authority::new(DOMAIN);
        let (leaf, key) = authority.issue(&Leaf::of("spiffe://example.org/host/1"));
        let mut svid = X509svid {
            spiffe_id: "spiffe://example.org/host/1".to_owned(),
            x509_svid: leaf.to_vec(),
            x509_svid_key: key,
            bundle: authority.bundle(DOMAIN).x509_der(),
            hint: String::new(),
        };
        let got = own(&svid).unwrap();
        assert_eq!(
            (got.svid.id.to_string(), &*got.bundle),
            (svid.spiffe_id.clone(), &authority.bundle(DOMAIN))
        );
        svid.bundle.pop();
        assert!(matches!(own(&svid), Err(AnswerError::List)));
        svid.x509_svid = Vec::new();
        assert!(matches!(own(&svid), Err(AnswerError::Svid(X509SvidError::Empty))));
    }

    #[test]
    fn lists_of_certificates() {
        let one = [0x30, 1, 7];
        let two = [&one[..], &[0x30, 0x81, 2, 8, 9]].concat();
        assert_eq!(certificates(&two).unwrap().len(), 2);
        assert_eq!(certificates(&[]).unwrap().len(), 0);
        for bad in [
            &[0x30][..],
            &[0x30, 2, 7],
            &[0x31, 0],
            &[0x30, 0x82, 1],
            &[0x30, 0x84, 0, 0, 0, 0],
            &[0x30, 0, 1],
        ] {
            assert_eq!(certificates(bad), None, "{bad:?}");
        }
    }
}
