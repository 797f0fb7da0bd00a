//! Entrances for `examples/fuzz.rs`: bytes of anyone, and what must hold for them. Not a part of the interface.

use lepton_host_api::roles::{self, Role};
use lepton_host_api::v1::exec_request::Message;
use lepton_host_api::v1::{ExecRequest, ExecStart};
use lepton_runtime_client::log::Sink as _;
use lepton_spiffe::{Bundle, Certificate, CertificateDer};
use prost::Message as _;

use crate::methods::{exec, logs};
use crate::trust::judge;
use crate::{deadline, identity};

/// A caller's certificates, held against a bundle; whether the caller has a role.
pub fn certificate(bytes: &[u8], others: &[CertificateDer<'static>], bundle: &Bundle, now: i64) -> usize {
    let mut chain = vec![CertificateDer::from(bytes.to_vec())];
    chain.extend_from_slice(others);
    match judge(&chain, bundle, now) {
        Ok(known) => {
            let certificate = Certificate::read(bytes).expect("what is believed can be read");
            assert_eq!(certificate.leaf_id().as_ref(), Ok(&known.id));
            assert_eq!(known.id.trust_domain(), &bundle.trust_domain);
            assert_eq!(known.id.path(), known.role.path());
            assert!(now <= certificate.not_after);
            1
        }
        Err(distrust) => {
            // Whoever may be told why has shown who they are.
            assert_eq!(distrust.may_be_told(), distrust.id().is_some());
            0
        }
    }
}

/// Paths, roles and deadlines; how many kinds of word it is.
pub fn words(text: &str) -> usize {
    let method = roles::method(text).inspect(|method| {
        assert_eq!(text, format!("/{}/{}", roles::SERVICE, method.name));
    });
    let role = Role::of_path(text).inspect(|role| assert_eq!(text, role.path()));
    let deadline = deadline::parse(text).inspect(|deadline| {
        assert!(text.len() <= 9 && deadline.as_secs() <= 99_999_999 * 3600);
    });
    usize::from(method.is_some()) + usize::from(role.is_some()) + usize::from(deadline.is_some())
}

/// A message of a caller who runs a program; whether it is passed on.
pub fn program(bytes: &[u8]) -> usize {
    let Ok(request) = ExecRequest::decode(bytes) else { return 0 };
    if let Some(Message::Start(start)) = &request.message
        && exec::check(&start.command).is_ok()
    {
        assert!(start.command.first().is_some_and(|program| !program.is_empty()));
        assert!(start.command.iter().all(|word| !word.contains('\0')));
        return 1;
    }
    let start = ExecStart { stdin: true, tty: true, ..ExecStart::default() };
    match exec::payload(request, &start) {
        // A channel of input: nobody writes to another one.
        Ok(Some(payload)) => {
            assert!(payload.first().is_some_and(|channel| matches!(channel, 0 | 4 | 255)));
            1
        }
        _ => 0,
    }
}

/// What a container has written to its log, and a list of certificates; how many of them there are.
pub fn lists(bytes: &[u8]) -> usize {
    let mut lines = logs::Lines::new(i64::MIN);
    let taken = lines.take(bytes).expect("nothing is read here");
    assert!(taken <= bytes.len() && lines.ready.len() <= bytes.len());
    let certificates = identity::certificates(bytes);
    if let Some(certificates) = &certificates {
        assert_eq!(certificates.iter().map(|one| one.len()).sum::<usize>(), bytes.len());
    }
    lines.ready.len() + certificates.map_or(0, |certificates| certificates.len())
}
