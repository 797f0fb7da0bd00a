//! `lepton-host-api-generate PROTO FOLDER`: writes the Rust of the management API, from the folder of its description.
//! It must not run in a build: what it writes is committed.

use std::error::Error;
use std::path::Path;

use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// The file with the service; it imports all others.
const SERVICE: &str = "lepton/host/v1/host.proto";
/// Messages with machine configs, whose secrets are not for logs: `src/secret.rs` says how they are shown.
const SECRET: [&str; 5] = [
    ".lepton.host.v1.ApplyConfigRequest",
    ".lepton.host.v1.CheckConfigRequest",
    ".lepton.host.v1.DiffConfigRequest",
    ".lepton.host.v1.GetConfigResponse",
    ".lepton.host.v1.ExecStart",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [proto, folder] = &arguments[..] else {
        return Err("usage: lepton-host-api-generate PROTO FOLDER".into());
    };
    let descriptors = protox::compile([SERVICE], [proto])?;
    let mut builder = tonic_prost_build::configure()
        .build_transport(true)
        .btree_map(".")
        .skip_debug(SECRET)
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .type_attribute(".", "#[serde(rename_all = \"kebab-case\")]")
        .emit_rerun_if_changed(false)
        .out_dir(Path::new(folder));
    for field in enumerations(&descriptors) {
        builder = builder.field_attribute(field.0, field.1);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// Fields of enumerations, which prost keeps as numbers, and how they are written as their names.
fn enumerations(descriptors: &FileDescriptorSet) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for file in &descriptors.file {
        for message in &file.message_type {
            add(message, file.package(), &mut fields);
        }
    }
    fields
}

fn add(message: &DescriptorProto, package: &str, fields: &mut Vec<(String, String)>) {
    for field in message.field.iter().filter(|field| field.r#type() == Type::Enum) {
        let kind = field.type_name().rsplit('.').next().unwrap_or_default();
        fields.push((
            format!(".{package}.{}.{}", message.name(), field.name()),
            format!("#[serde(serialize_with = \"crate::json::enumeration::<{kind}, _>\")]"),
        ));
    }
}
