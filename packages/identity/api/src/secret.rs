//! How messages that hold keys or tokens are shown: by their names alone, so that no log line can hold a secret.

use std::fmt;

/// Shows a message without what it holds.
macro_rules! hide {
    ($($message:ty: $name:literal),* $(,)?) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        })*
    };
}

hide!(
    crate::workload::X509svid: "X509svid",
    crate::workload::Jwtsvid: "Jwtsvid",
    crate::workload::ValidateJwtsvidRequest: "ValidateJwtsvidRequest",
    crate::spire::api::types::AttestationData: "AttestationData",
    crate::spire::api::types::JoinToken: "JoinToken",
    crate::spire::api::types::Jwtsvid: "Jwtsvid",
    crate::spire::api::server::agent::v1::CreateJoinTokenRequest: "CreateJoinTokenRequest",
);

#[cfg(test)]
mod tests {
    use crate::spire::api::server::agent::v1::{AttestAgentRequest, attest_agent_request};
    use crate::spire::api::types::AttestationData;
    use crate::workload::{X509svid, X509svidResponse};

    #[test]
    fn keys_and_tokens_are_not_shown() {
        let svid = X509svid { x509_svid_key: vec![77, 78], ..X509svid::default() };
        let shown = format!("{:?}", X509svidResponse { svids: vec![svid], ..X509svidResponse::default() });
        assert!(shown.contains("X509svid { .. }") && !shown.contains("77"), "{shown}");
        let data = AttestationData { r#type: "join_token".to_owned(), payload: b"5d1ae1a0".to_vec() };
        let params = attest_agent_request::Params { data: Some(data), params: None };
        let step = Some(attest_agent_request::Step::Params(params));
        let shown = format!("{:?}", AttestAgentRequest { step });
        assert!(shown.contains("AttestationData { .. }"), "{shown}");
    }
}
