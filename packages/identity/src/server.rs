//! SPIRE servers: several addresses of one trust domain, asked over its public API for agents.

mod convert;
mod denied;
mod link;
mod pool;
mod tls;

pub(crate) use link::Link;
pub(crate) use pool::Pool;
pub(crate) use tls::{Trust, config};
