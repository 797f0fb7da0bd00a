//! The kernel's links, addresses and routes over rtnetlink, and its per-link settings.
//!
//! Truth is read by dumps; notifications only say that something changed, but for what no dump can give: DNS servers
//! and prefixes of router advertisements.

mod change;
mod netlink;
mod snapshot;
pub mod sysctl;

pub use change::{Change, Lifetimes, Origin, RouteKey};
pub use netlink::{Heard, Netlink, Notifications};
pub use snapshot::{Address, Link, RouterFlags, Snapshot};
