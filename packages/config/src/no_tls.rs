//! In place of TLS, where the program is built without it: every `https` URL is refused with what to do instead.

use std::path::Path;

use crate::connect::Timed;
use crate::fetch::FetchError;

/// Refuses.
pub(crate) fn wrap(_: Timed, _: &str, _: &Path) -> Result<Timed, FetchError> {
    Err(FetchError::NoTls)
}
