//! What a server's refusal means.

use lepton_spiffe_api::spire::api::types::PermissionDeniedDetails;
use lepton_spiffe_api::spire::api::types::permission_denied_details::Reason;
use prost::Message;
use tonic::{Code, Status};

use crate::authority::AuthorityError;

/// google.rpc.Status, as gRPC sends it beside an error.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

fn reason(status: &Status) -> Option<Reason> {
    let details = Details::decode(status.details()).ok()?;
    let details = details
        .details
        .into_iter()
        .find(|any| any.type_url.rsplit('/').next() == Some("spire.api.types.PermissionDeniedDetails"))?;
    Reason::try_from(PermissionDeniedDetails::decode(details.value.as_slice()).ok()?.reason).ok()
}

/// What to do about an error of a call.
pub(super) fn error(status: &Status) -> AuthorityError {
    let said = said(status);
    match (status.code(), reason(status)) {
        (_, Some(Reason::AgentBanned)) => AuthorityError::Banned(said),
        (Code::PermissionDenied, Some(Reason::AgentExpired)) => AuthorityError::MustAttest(said),
        (
            Code::PermissionDenied,
            Some(Reason::AgentNotActive | Reason::AgentNotAttested | Reason::AgentMustReattest),
        ) => AuthorityError::MustAttest(said),
        // Attestation says it in words only.
        (Code::PermissionDenied, _) if said.contains("agent is banned") => AuthorityError::Banned(said),
        (Code::NotFound, _) => AuthorityError::NoEntry,
        (
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::ResourceExhausted,
            _,
        ) => AuthorityError::Unavailable(said),
        _ => AuthorityError::Refused(said),
    }
}

/// The server's message; of an error of the transport the innermost cause, as what is around it says no more.
fn said(status: &Status) -> String {
    let mut inner = std::error::Error::source(status);
    while let Some(source) = inner.and_then(std::error::Error::source) {
        inner = Some(source);
    }
    inner.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(reason: Reason) -> Status {
        let value = PermissionDeniedDetails { reason: reason.into() }.encode_to_vec();
        let any = prost_types::Any {
            type_url: "type.googleapis.com/spire.api.types.PermissionDeniedDetails".to_owned(),
            value,
        };
        let details = Details { details: vec![any] }.encode_to_vec();
        Status::with_details(Code::PermissionDenied, "no", details.into())
    }

    #[test]
    fn refusals_have_meanings() {
        let no = || "no".to_owned();
        assert_eq!(error(&denied(Reason::AgentBanned)), AuthorityError::Banned(no()));
        for reason in [Reason::AgentExpired, Reason::AgentNotAttested, Reason::AgentNotActive] {
            assert_eq!(error(&denied(reason)), AuthorityError::MustAttest(no()));
        }
        assert_eq!(error(&Status::permission_denied("no")), AuthorityError::Refused(no()));
        assert_eq!(error(&Status::unavailable("no")), AuthorityError::Unavailable(no()));
        assert_eq!(error(&Status::not_found("no")), AuthorityError::NoEntry);
        let banned = Status::permission_denied("failed to attest: agent is banned");
        assert!(matches!(error(&banned), AuthorityError::Banned(_)));
        let broken = Status::with_details(Code::PermissionDenied, "no", b"\xff\xff".to_vec().into());
        assert_eq!(error(&broken), AuthorityError::Refused(no()));
    }
}
