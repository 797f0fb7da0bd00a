//! The nearest name to a misspelt one; the machine config has the same rule.

pub use lepton_config::suggest::{hint, with_suggestion};
