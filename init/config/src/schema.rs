//! The JSON schema (draft 2020-12) of a machine config.

use crate::MachineConfig;

/// The schema as JSON text with a final line feed.
pub fn json() -> String {
    let mut schema = schemars::schema_for!(MachineConfig);
    schema.insert("title".to_owned(), "Lepton machine config".into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
