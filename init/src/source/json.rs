//! The one value that is read from the metadata of a config drive.

use serde::Deserialize;

/// What matters of `openstack/latest/meta_data.json`; other fields are passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MetaData {
    /// The host's name, often with a domain.
    pub(super) hostname: Option<String>,
}

/// Reads metadata; the error is one sentence.
pub(super) fn meta_data(bytes: &[u8]) -> Result<MetaData, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
