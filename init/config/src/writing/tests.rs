//! What is written, and that the toml crate reads it back as the same.

use std::collections::BTreeMap;

use expect_test::expect;
use lepton_service_spec::ServiceSpec;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Everything {
    yes: bool,
    least: i64,
    half: f64,
    whole: f64,
    text: String,
    nothing: Option<String>,
    list: Vec<u8>,
    lists: Vec<Vec<String>>,
    mixed: BTreeMap<String, Inner>,
    tables: Vec<Inner>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    name: String,
    deep: BTreeMap<String, String>,
}

fn inner(name: &str) -> Inner {
    Inner { name: name.into(), deep: [("a b".into(), "1".into()), ("".into(), "2".into())].into() }
}

fn everything(text: &str) -> Everything {
    Everything {
        yes: true,
        least: i64::MIN,
        half: 0.5,
        whole: 3.0,
        text: text.into(),
        nothing: None,
        list: vec![1, 2],
        lists: vec![vec![], vec!["x".into()]],
        mixed: [("in \"side\"".into(), inner("m"))].into(),
        tables: vec![inner("s"), inner("t")],
    }
}

#[test]
fn tables_come_after_what_stands_beside_them() {
    let value = everything("a\n\"b\"\\ \u{1b}é\u{7f}\t");
    let text = to_toml(&value).unwrap();
    expect![[r#"
        yes = true
        least = -9223372036854775808
        half = 0.5
        whole = 3.0
        text = "a\n\"b\"\\ \u001bé\u007f\t"
        list = [1, 2]
        lists = [[], ["x"]]

        [mixed."in \"side\""]
        name = "m"

        [mixed."in \"side\"".deep]
        "" = "2"
        "a b" = "1"

        [[tables]]
        name = "s"

        [tables.deep]
        "" = "2"
        "a b" = "1"

        [[tables]]
        name = "t"

        [tables.deep]
        "" = "2"
        "a b" = "1"
    "#]]
    .assert_eq(&text);
    assert_eq!(toml::from_str::<Everything>(&text).unwrap(), value);
}

#[test]
fn every_character_comes_back() {
    for c in ('\0'..='\u{ff}').chain(['\u{2028}', '\u{feff}', '\u{10ffff}']) {
        let value = everything(&format!("{c}x{c}"));
        let text = to_toml(&value).unwrap();
        assert_eq!(toml::from_str::<Everything>(&text).unwrap(), value, "{c:?}");
        let map = BTreeMap::from([(c.to_string(), 1)]);
        let text = to_toml(&map).unwrap();
        assert_eq!(toml::from_str::<BTreeMap<String, i32>>(&text).unwrap(), map, "{c:?}");
    }
}

#[test]
fn a_service_comes_back() {
    let mut spec = ServiceSpec::new("agent", &["/usr/bin/agent", "a \"b\""]);
    spec.restart_s = lepton_service_spec::Seconds::from_millis(250);
    spec.environment = [("A".into(), "b=c".into())].into();
    spec.oom_score_adj = -5;
    assert_eq!(toml::from_str::<ServiceSpec>(&to_toml(&spec).unwrap()).unwrap(), spec);
}

#[test]
fn what_toml_cannot_say_is_refused() {
    assert_eq!(to_toml(&1), Err(Unwritable));
    assert_eq!(to_toml(&BTreeMap::from([(1, 1)])), Err(Unwritable));
    assert_eq!(to_toml(&BTreeMap::from([("a", u64::MAX)])), Err(Unwritable));
    assert_eq!(to_toml(&BTreeMap::from([("a", f64::NAN)])), Err(Unwritable));
    assert_eq!(to_toml(&BTreeMap::from([("a", (1, 2))])), Err(Unwritable));
}
