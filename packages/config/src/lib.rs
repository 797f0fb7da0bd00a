//! Fetching a machine config over HTTP or HTTPS: with bounds on time, size and redirects, and a digest when one is named.
//!
//! Blocking, for one request at a time. Nothing here knows PID 1.
#![forbid(unsafe_code)]

mod connect;
pub mod fetch;
mod http;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
pub mod url;
