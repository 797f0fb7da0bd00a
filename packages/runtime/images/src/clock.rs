//! The one place of this crate that knows the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 on a host whose clock is before that.
#[expect(clippy::disallowed_methods, reason = "when an image was pulled and used is a time of the host")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
