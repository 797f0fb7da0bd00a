//! `lepton keys`: makes trust domains and certificates, and shows them.

use std::io::Write;
use std::path::{Path, PathBuf};

use lepton_keys::{Folder, Lifetime};
use lepton_spiffe::TrustDomain;
use serde_json::json;

use super::Call;
use crate::clock;
use crate::failure::Failure;
use crate::output::{Output, Table, View};
use crate::span;

/// Makes a trust domain.
pub(crate) fn new(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let path = PathBuf::from(call.asked.word(0).unwrap_or_default());
    let domain = call.asked.value("trust-domain");
    let domain = domain.ok_or_else(|| Failure::Usage("keys new needs --trust-domain NAME".to_owned()))?;
    let domain: TrustDomain = domain.parse()?;
    let folder = Folder::create(&path, &domain, clock::now_s())?;
    let path = path.display();
    writeln!(sink, "made the trust domain {domain} in {path}")?;
    writeln!(sink, "{} goes into the machine config of hosts", folder.fragment_path().display())?;
    writeln!(
        sink,
        "next: lepton keys issue --role admin {path}; lepton context add NAME --keys {path} --hosts HOST"
    )?;
    Ok(())
}

/// Makes a certificate of a role.
pub(crate) fn issue(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let role = call.asked.global.role;
    let role =
        role.ok_or_else(|| Failure::Usage("keys issue needs --role reader, operator or admin".to_owned()))?;
    let folder = folder(call)?;
    let to = call.asked.value("to").map_or_else(|| folder.clone(), Folder::at);
    let entry = folder.issue(role, lifetime(call, Lifetime::PERSON)?, clock::now_s(), &to)?;
    writeln!(
        sink,
        "{} until {} in {}",
        entry.id,
        span::rfc3339(entry.not_after * 1000),
        entry.path.display()
    )?;
    Ok(())
}

/// Prints another part of a machine config.
pub(crate) fn host(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let text = folder(call)?.fragment(lifetime(call, Lifetime::AUTHORITY)?, clock::now_s())?;
    sink.write_all(text.as_bytes())?;
    Ok(())
}

/// Shows the certificates of a folder.
pub(crate) fn show(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let folder = folder(call)?;
    let entries = folder.entries()?;
    if entries.is_empty() {
        return Err(Failure::Wrong(format!("there are no certificates in {}", folder.path().display())));
    }
    let now = clock::now_s();
    if call.asked.global.json {
        for entry in &entries {
            let fields = json!({ "file": entry.path, "id": entry.id.to_string(),
                "not-before-unix-s": entry.not_before, "not-after-unix-s": entry.not_after });
            writeln!(sink, "{fields}")?;
        }
        return Ok(());
    }
    let rows = entries.iter().map(|entry| {
        let state = match now {
            now if now < entry.not_before => "not yet",
            now if now > entry.not_after => "over",
            _ => "good",
        };
        let file = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        vec![file, entry.id.to_string(), state.to_owned(), span::rfc3339(entry.not_after * 1000)]
    });
    let table = Table { head: &["FILE", "ID", "STATE", "UNTIL"], rows: rows.collect() };
    Output::new(sink, false, &[]).answers(&[("", Shown { table })])
}

/// A table that is there already.
#[derive(serde::Serialize)]
pub(crate) struct Shown {
    #[serde(skip)]
    pub(crate) table: Table,
}

impl View for Shown {
    fn tables(&self, _: bool) -> Vec<Table> {
        vec![self.table.clone()]
    }
}

/// The folder that is named, or that of the context.
fn folder(call: &Call<'_>) -> Result<Folder, Failure> {
    let named = call.asked.word(0).map(Path::new).or(call.asked.global.keys.as_deref());
    if let Some(path) = named {
        return Ok(Folder::at(path));
    }
    let contexts = call.contexts()?;
    let context = contexts.choose(call.asked.global.context.as_deref())?;
    let context =
        context.ok_or_else(|| Failure::Usage("name a folder of keys, or choose a context".to_owned()))?;
    Ok(Folder::at(&context.keys))
}

fn lifetime(call: &Call<'_>, default: Lifetime) -> Result<Lifetime, Failure> {
    Ok(call.asked.value("ttl").map(str::parse).transpose()?.unwrap_or(default))
}
