//! `lepton context`: keys and hosts under a name.

use std::collections::BTreeMap;
use std::io::Write;

use lepton_host_api::roles::Role;
use serde_json::json;

use super::Call;
use super::keys::Shown;
use crate::contexts::Context;
use crate::failure::Failure;
use crate::output::{Output, Table};

/// Adds a context.
pub(crate) fn add(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let name = call.asked.word(0).unwrap_or_default();
    let keys = call.asked.value("keys");
    let keys = keys.ok_or_else(|| Failure::Usage("context add needs --keys DIR".to_owned()))?;
    // A context is used from any folder.
    let keys = std::path::absolute(keys).map_err(Failure::file("find", keys.as_ref()))?;
    let hosts = call
        .asked
        .value("hosts")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty());
    let hosts = hosts.map(str::to_owned).collect();
    let mut contexts = call.contexts()?;
    contexts.add(name, Context { keys, role: call.asked.global.role, hosts, host_ids: BTreeMap::new() })?;
    let file = call.contexts_file()?;
    contexts.write(file)?;
    let current = if contexts.current.as_deref() == Some(name) { "; it is the current one" } else { "" };
    writeln!(sink, "added {name} to {}{current}", file.display())?;
    Ok(())
}

/// Shows all contexts.
pub(crate) fn list(call: &Call<'_>, sink: &mut dyn Write) -> Result<(), Failure> {
    let contexts = call.contexts()?;
    let is_current = |name: &str| contexts.current.as_deref() == Some(name);
    if call.asked.global.json {
        for (name, context) in &contexts.contexts {
            let fields = json!({ "name": name, "current": is_current(name), "keys": context.keys,
                "role": context.role.map(Role::name), "hosts": context.hosts, "host-ids": context.host_ids });
            writeln!(sink, "{fields}")?;
        }
        return Ok(());
    }
    let rows = contexts.contexts.iter().map(|(name, context)| {
        vec![
            if is_current(name) { "*" } else { "" }.to_owned(),
            name.clone(),
            context.role.map_or("-", Role::name).to_owned(),
            if context.hosts.is_empty() { "-".to_owned() } else { context.hosts.join(",") },
            context.keys.display().to_string(),
        ]
    });
    let table = Table { head: &["", "NAME", "ROLE", "HOSTS", "KEYS"], rows: rows.collect() };
    Output::new(sink, false, &[]).answers(&[("", Shown { table })])
}

/// Makes a context the current one, or none.
pub(crate) fn choose(call: &Call<'_>) -> Result<(), Failure> {
    let mut contexts = call.contexts()?;
    contexts.set_current(call.asked.word(0))?;
    Ok(contexts.write(call.contexts_file()?)?)
}

/// Forgets a context.
pub(crate) fn remove(call: &Call<'_>) -> Result<(), Failure> {
    let mut contexts = call.contexts()?;
    contexts.remove(call.asked.word(0).unwrap_or_default())?;
    Ok(contexts.write(call.contexts_file()?)?)
}
