//! Documents as a whole: other formats, damaged bytes, and several of them.

use super::*;

#[test]
fn other_formats_are_named() {
    for (text, kind) in [
        ("#cloud-config\nhostname: x\n", "cloud-init"),
        ("#!/bin/sh\n", "script"),
        ("{\"ignition\": {}}", "JSON"),
        ("---\na: b\n", "YAML"),
    ] {
        let parsed = parse("user-data", text);
        assert_eq!(parsed.problems.len(), 1, "{text}");
        assert!(parsed.problems[0].message.contains(kind), "{}", parsed.problems[0]);
        assert!(parsed.config.is_empty());
    }
}

#[test]
fn bytes_are_bounded_and_text() {
    assert_eq!(parse_bytes("x", b"a = 1\n\xff").problems[0].to_string(), "x:2: not UTF-8 text");
    let large = vec![b'\n'; MAX_BYTES + 1];
    assert_eq!(parse_bytes("x", &large).problems[0].to_string(), "x: larger than 1048576 bytes");
    // Deep nesting must end in an error, not in a full stack.
    assert!(!parse("x", &format!("a = {}", "[".repeat(100_000))).problems.is_empty());
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    let text = include_str!("../../../tests/samples/everything.toml");
    for end in (0..text.len()).step_by(7).filter(|end| text.is_char_boundary(*end)) {
        let parsed = parse("cut", &text[..end]);
        assert_eq!(parse("again", &parsed.config.to_toml()).problems, []);
    }
    for at in (0..text.len()).step_by(11) {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = b"[]\"'{}=\n"[at % 8];
        let parsed = parse_bytes("changed", &bytes);
        assert_eq!(parse("again", &parsed.config.to_toml()).problems, []);
    }
}

#[test]
fn the_first_source_that_has_a_key_gives_it() {
    let sources = [
        "hostname = \"a\"\n[network]\ndns = [\"192.0.2.1\"]\nsearch = []\n[install]\nwipe = true\n[sysctl]\n\"vm.a\" = 1\n",
        "hostname = \"b\"\n[network]\ndns = [\"192.0.2.2\"]\nsearch = [\"b.example\"]\n[install]\ndisk = \"smallest\"\nwipe = false\n",
        "[time]\nservers = [\"c\"]\n[sysctl]\n\"vm.a\" = 3\n\"vm.b\" = 3\n",
    ];
    let mut config = MachineConfig::default();
    for text in sources {
        let parsed = parse("x", text);
        assert_eq!(parsed.problems, []);
        config.fill_from(parsed.config);
    }
    expect![[r#"
        hostname = "a"

        [network]
        dns = ["192.0.2.1"]
        search = ["b.example"]

        [time]
        servers = ["c"]

        [install]
        disk = "smallest"
        wipe = true

        [sysctl]
        "vm.a" = "1"
        "vm.b" = "3"
    "#]]
    .assert_eq(&config.to_toml());
}
