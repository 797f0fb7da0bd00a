//! A config as rows, a key with its value each, so that two of them can be compared; and without its secrets.

use serde::Serialize;

use super::{Unwritable, Value, Writer, quoted, write_inline, write_table};

/// What stands for a secret.
pub const SECRET: &str = "(secret)";

/// Lists of which each element has a name: it is told apart by that key, wherever in the list it stands.
const NAMED: [(&str, &str); 5] = [
    ("services", "name"),
    ("containers", "name"),
    ("files", "path"),
    ("registries", "host"),
    ("logs.destinations", "name"),
];

/// Values that are shown to nobody but an administrator: keys, tokens and passwords, and what may hold such.
const SECRETS: [&str; 12] = [
    "containers.environment",
    "files.content",
    "identity.authority.key",
    "identity.join-token",
    "identity.x509pop.key",
    "kubelet.kubeconfig",
    "kubelet.token",
    "pods.manifest",
    "proxy",
    "registries.endpoints.password",
    "route.certificates.key",
    "services.environment",
];

/// Every value by its key, in the order of the document: `network.dns` with `["192.0.2.53"]`, `services[web].command`.
pub fn rows(value: &impl Serialize) -> Result<Vec<(String, String)>, Unwritable> {
    let mut rows = Vec::new();
    add(&mut rows, "", &value.serialize(Writer)?);
    Ok(rows)
}

/// The document that says `value`, without its secrets. It is for people: nothing reads it back.
pub fn to_toml_without_secrets(value: &impl Serialize) -> Result<String, Unwritable> {
    let mut value = value.serialize(Writer)?;
    hide(&mut value, "");
    let Value::Table(rows) = value else { return Err(Unwritable) };
    let mut text = String::new();
    write_table(&mut text, "", &rows);
    Ok(text)
}

/// Whether the value of that key of [`rows`] is shown to nobody but an administrator.
pub fn is_secret(key: &str) -> bool {
    let mut plain = String::with_capacity(key.len());
    let mut rest = key;
    // What stands in brackets says which element of a list it is.
    while let Some((before, behind)) = rest.split_once('[') {
        plain.push_str(before);
        rest = behind.split_once(']').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    let is_below = |secret: &str| {
        plain.strip_prefix(secret).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    SECRETS.into_iter().any(is_below) && plain != "proxy.no-proxy"
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn add(rows: &mut Vec<(String, String)>, path: &str, value: &Value) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                add(rows, &join(path, key), value);
            }
        }
        Value::List(items) if !value.is_inline() => {
            for (index, item) in items.iter().enumerate() {
                add(rows, &format!("{path}[{}]", label(path, index, item)), item);
            }
        }
        _ => {
            let mut text = String::new();
            write_inline(&mut text, value);
            rows.push((path.to_owned(), text));
        }
    }
}

fn label(path: &str, index: usize, item: &Value) -> String {
    let name = NAMED.iter().find(|(list, _)| *list == path).and_then(|(_, name)| match item {
        Value::Table(rows) => rows.iter().find(|(key, _)| key == name),
        _ => None,
    });
    match name {
        // Brackets in a name would make the key another one.
        Some((_, Value::Plain(text))) if !text.contains(['[', ']']) => text.trim_matches('"').to_owned(),
        _ => index.to_string(),
    }
}

fn hide(value: &mut Value, path: &str) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(key, value)| hide(value, &join(path, key))),
        Value::List(items) => items.iter_mut().for_each(|item| hide(item, path)),
        Value::Plain(text) if is_secret(path) => *text = quoted(SECRET),
        Value::Absent | Value::Plain(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn config(text: &str) -> crate::MachineConfig {
        let parsed = crate::parse("x", text);
        assert_eq!(parsed.problems, []);
        parsed.config
    }

    #[test]
    fn rows_by_key() {
        let config = config(
            "hostname = 'a'\nnetwork.dns = ['192.0.2.1', '192.0.2.2']\nsysctl = { 'vm.x' = 1 }\n\
             [[network.links]]\nmatch = { name = 'eth0' }\nmtu = 1400\n\
             [[files]]\npath = '/etc/motd'\ncontent = \"a\\nb\"\n",
        );
        let rows = rows(&config).unwrap();
        let text: String = rows.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        expect![[r#"
            hostname: "a"
            network.dns: ["192.0.2.1", "192.0.2.2"]
            network.links[0].match.name: "eth0"
            network.links[0].mtu: 1400
            files[/etc/motd].path: "/etc/motd"
            files[/etc/motd].content: "a\nb"
            sysctl."vm.x": "1"
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_name_with_brackets_hides_its_secret_all_the_same() {
        let config = config("[[files]]\npath = '/etc/a]b['\ncontent = 'x'\n");
        let keys: Vec<String> = rows(&config).unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["files[0].path", "files[0].content"]);
        assert!(is_secret(&keys[1]) && !is_secret(&keys[0]));
    }

    #[test]
    fn every_secret_of_a_config_is_hidden() {
        let everything = config(include_str!("../../tests/samples/everything.toml"));
        let shown = to_toml_without_secrets(&everything).unwrap();
        for secret in [
            "hello",
            "0c1f2b5e-6d3a-4f7e-8a9b-1c2d3e4f5a6b",
            "abcdef.0123456789abcdef",
            "PRIVATE KEY",
            "s%20cret",
            "password = \"secret\"",
            "kind: Pod",
            "RUST_LOG = \"info\"",
        ] {
            assert!(everything.to_toml().contains(secret), "{secret}");
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("hostname = \"edge-1\"") && shown.contains("no-proxy = [\"10.0.0.0/8\""));
        let hidden = rows(&everything).unwrap().into_iter().filter(|(key, _)| is_secret(key));
        let keys: Vec<String> = hidden.map(|(key, _)| key).collect();
        expect![[r#"
            [
                "files[/etc/motd].content",
                "services[agent].environment.RUST_LOG",
                "containers[web].environment.LEVEL",
                "pods[0].manifest",
                "kubelet.token",
                "registries[docker.io].endpoints[1].password",
                "proxy.http",
                "proxy.https",
                "route.certificates[0].key",
                "identity.join-token",
            ]
        "#]]
        .assert_debug_eq(&keys);
    }
}
