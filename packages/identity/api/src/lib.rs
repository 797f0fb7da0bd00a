//! The published SPIFFE Workload API, for both sides, and SPIRE's API for agents, for the asking side.
//!
//! The code is generated ahead from the descriptions in the Go modules `github.com/spiffe/spire-api-sdk`
//! v1.2.5-0.20250109200630-101d5e7de758, which SPIRE v1.13.0 is built with, and `github.com/spiffe/go-spiffe/v2` v2.5.0, and
//! never by a build: `go mod download` both, then in `packages/identity/api/generate`
//! `cargo run -- SPIRE_API_SDK GO_SPIFFE ../src/generated` with the folders of the modules.

mod secret;

/// The SPIFFE Workload API; its description names no package.
pub mod workload {
    #![expect(missing_docs, reason = "generated; the description has the text")]
    #![allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        unused_qualifications,
        missing_debug_implementations,
        reason = "generated"
    )]

    include!("generated/workload.rs");
}

/// Packages `spire.…`: their names are the modules'.
pub mod spire {
    #![expect(missing_docs, reason = "generated; the descriptions have the text")]
    #![allow(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        unused_qualifications,
        missing_debug_implementations,
        reason = "generated"
    )]

    pub mod api {
        pub mod types {
            include!("generated/spire.api.types.rs");
        }
        pub mod server {
            pub mod agent {
                pub mod v1 {
                    include!("generated/spire.api.server.agent.v1.rs");
                }
            }
            pub mod bundle {
                pub mod v1 {
                    include!("generated/spire.api.server.bundle.v1.rs");
                }
            }
            pub mod entry {
                pub mod v1 {
                    include!("generated/spire.api.server.entry.v1.rs");
                }
            }
            pub mod svid {
                pub mod v1 {
                    include!("generated/spire.api.server.svid.v1.rs");
                }
            }
        }
    }
}
