//! What goes wrong with registries, and whether trying again can help.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;
use crate::error::ErrorKind;

/// Why a registry does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A setting.
    #[error("{why}")]
    Setting {
        /// Which and why.
        why: String,
    },
    /// A file of certificates.
    #[error("cannot read the certificates of {path}: {why}", path = path.display())]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Nothing to verify against.
    #[error(
        "no certificates to verify registries against in {files:?}: name a file of PEM certificates in the settings"
    )]
    NoCertificates {
        /// Where they were looked for.
        files: Vec<PathBuf>,
    },
    /// No connection.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// To whom.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// No TLS.
    #[error("no secure connection to {host}: {source}")]
    Tls {
        /// To whom.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// The proxy refuses.
    #[error("proxy {host}: {why}")]
    Proxy {
        /// Which.
        host: String,
        /// Why.
        why: String,
    },
    /// It takes too long.
    #[error("cannot {what} {host} within {} seconds", after.as_secs_f32())]
    Timeout {
        /// What was tried.
        what: &'static str,
        /// With whom.
        host: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// No HTTP, or an end in the middle of it.
    #[error("{host} does not speak HTTP as it should: {source}")]
    Protocol {
        /// Who.
        host: String,
        /// How.
        source: hyper::Error,
    },
    /// An answer that is not of use.
    #[error("{url}: status {status}{detail}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the registry says to it.
        detail: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// There is none.
    #[error("{url}: not found{detail}")]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the registry says to it.
        detail: String,
    },
    /// It wants other credentials.
    #[error("{host} wants (other) credentials for this image{detail}")]
    Unauthenticated {
        /// Who.
        host: String,
        /// What it says to it.
        detail: String,
    },
    /// It knows who asks, and refuses.
    #[error("{host} refuses access to this image{detail}")]
    Denied {
        /// Who.
        host: String,
        /// What it says to it.
        detail: String,
    },
    /// A place for tokens that credentials must not be sent to.
    #[error("{host} wants a token from {realm:?}, which is no https address")]
    Realm {
        /// Who.
        host: String,
        /// Where.
        realm: String,
    },
    /// A token service without token.
    #[error("the token service {host} gave no token in its answer")]
    NoToken {
        /// Who.
        host: String,
    },
    /// From one place to the next.
    #[error("{host} redirects more than {limit} times")]
    Redirects {
        /// Who began it.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// A redirect to nowhere, or from https to http.
    #[error("{host} redirects to {location:?}, which is no place to go to from there")]
    Redirect {
        /// Who.
        host: String,
        /// Where to.
        location: String,
    },
    /// A body without a reasonable end.
    #[error("{host} sends more than {limit} bytes of a manifest or token")]
    TooLong {
        /// Who.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// Other bytes than were asked for.
    #[error("{host} sends another manifest than {wanted}: its digest is {found}")]
    OtherManifest {
        /// Who.
        host: String,
        /// Asked for, or announced.
        wanted: Digest,
        /// Sent.
        found: Digest,
    },
    /// Another size than the manifest says.
    #[error("{host} says that {digest} has {found} bytes, the manifest says {wanted}")]
    BlobSize {
        /// Who.
        host: String,
        /// Which.
        digest: Digest,
        /// As the manifest says.
        wanted: u64,
        /// As it says.
        found: u64,
    },
    /// Another part than was asked for.
    #[error("{host} sends another part than was asked for: {found:?}")]
    Range {
        /// Who.
        host: String,
        /// Which.
        found: String,
    },
    /// A blob whose bytes end early, again and again.
    #[error("{host} ends {digest} after {found} of {wanted} bytes")]
    Cut {
        /// Who.
        host: String,
        /// Which.
        digest: Digest,
        /// Its size.
        wanted: u64,
        /// What there is.
        found: u64,
    },
    /// The whole pull takes too long.
    #[error("the pull is not done after {} seconds", after.as_secs())]
    Deadline {
        /// How long it was.
        after: Duration,
    },
}

impl RegistryError {
    /// Whether the same request can succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Protocol { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Its class.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthenticated { .. } => ErrorKind::Unauthenticated,
            Self::Denied { .. } => ErrorKind::PermissionDenied,
            Self::Deadline { .. } => ErrorKind::DeadlineExceeded,
            Self::OtherManifest { .. } | Self::BlobSize { .. } => ErrorKind::DataLoss,
            Self::Setting { .. } => ErrorKind::InvalidArgument,
            Self::TooLong { .. } => ErrorKind::ResourceExhausted,
            _ => ErrorKind::Unavailable,
        }
    }
}
