//! The published CRI v1 interface: messages, client and server.
//!
//! The code is generated ahead from `api.proto` of the Go module `k8s.io/cri-api` v0.37.2, and never by a build:
//! `go mod download k8s.io/cri-api@v0.37.2`, then in `packages/runtime/cri/generate`
//! `cargo run -- MODULE/pkg/apis/runtime/v1/api.proto ../src/generated`.
//! Calls that a server does not define answer `UNIMPLEMENTED`.

/// Package `runtime.v1`.
pub mod v1 {
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

    include!("generated/runtime.v1.rs");
}
