//! The trust domain of a fleet, kept in a folder of a workstation.
//!
//! A folder has two authorities. `operators` signs the certificates of people; hosts are told its certificate, and its key
//! never leaves the folder. `hosts` signs authorities of hosts, which go into machine configs; its certificate is what
//! people verify hosts with. So whoever takes a host can pass as a host of the trust domain, and never as a person.
//!
//! Names are SPIFFE IDs: `spiffe://DOMAIN/role/ROLE` for people. Nothing here reads the clock or opens a socket; times are
//! given as seconds since 1970.
#![forbid(unsafe_code)]

mod authority;
mod files;
mod folder;
mod fragment;
mod identity;
mod lifetime;

pub use authority::AuthorityError;
pub use files::FileError;
pub use folder::{Entry, Folder, FolderError};
pub use identity::{Identity, IdentityError};
pub use lifetime::{Lifetime, LifetimeError};
