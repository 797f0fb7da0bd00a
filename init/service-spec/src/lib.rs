//! What a service is: the `[[services]]` tables of recipes and machine configs, the `[[containers]]` tables that
//! become services, and the rules they obey.
//!
//! Pure data: nothing here starts a program, reads a file or knows PID 1. The builder, the machine config and PID 1
//! share these types, so that a table means the same wherever it stands.

mod capability;
mod container;
pub mod endpoint;
mod order;
mod rules;
mod seconds;
mod spec;

pub use capability::Capability;
pub use container::{ContainerNetwork, ContainerSpec, Pull};
pub use order::{OrderError, order};
pub use rules::{Problem, is_service_name};
pub use seconds::Seconds;
pub use spec::{GiveUp, Kind, Limits, ReadyWhen, Restart, ServiceSpec};
