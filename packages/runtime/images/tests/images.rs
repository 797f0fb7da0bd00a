//! The public interface against registries of this test on loopback, which say the truth or lie as the case wants it, and
//! against archives that the test makes.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this is a test; it looks at folders, and their order does not matter"
)]

#[path = "images/auth.rs"]
mod auth;
#[path = "images/content.rs"]
mod content;
#[path = "images/files.rs"]
mod files;
#[path = "images/lies.rs"]
mod lies;
#[path = "images/local.rs"]
mod local;
#[path = "images/mirrors.rs"]
mod mirrors;
#[path = "images/pulls.rs"]
mod pulls;
#[path = "images/stub.rs"]
mod stub;
