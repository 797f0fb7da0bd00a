//! The management API of a Lepton host, `lepton.host.v1.Host`, for both sides, and which role each of its methods needs.
//!
//! `proto/` is the published description. The code is generated ahead from it, and never by a build: in
//! `packages/host/api/generate`, `cargo run -- ../proto ../src/generated`.

pub mod docs;
#[cfg(feature = "messages")]
mod json;
pub mod roles;
#[cfg(feature = "messages")]
mod secret;

/// Package `lepton.host.v1`.
#[cfg(feature = "messages")]
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        unused_qualifications,
        missing_debug_implementations,
        reason = "generated"
    )]

    include!("generated/lepton.host.v1.rs");
}

/// The port that hosts listen on unless the machine config says otherwise.
pub const PORT: u16 = 7443;

/// Where the same service listens on the host itself, without TLS; the user root is admin there.
pub const SOCKET: &str = "/run/lepton/host/api.sock";

/// Longest message in bytes, in both directions: a machine config, or a part of a stream.
pub const MAX_MESSAGE: usize = 4 << 20;
