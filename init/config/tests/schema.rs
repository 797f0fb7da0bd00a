//! The published schema and reference are those of the types, and an independent validator agrees with the reader.

use expect_test::expect_file;
use lepton_config::{parse, schema};

#[test]
fn the_published_files_are_up_to_date() {
    expect_file!["../../../docs/config.schema.json"].assert_eq(&schema::json());
    expect_file!["../../../docs/config.md"].assert_eq(&schema::reference());
}

fn is_valid(text: &str) -> bool {
    let schema: serde_json::Value =
        serde_json::from_str(&schema::json()).expect("the committed files are well-formed");
    let table: toml::Table = text.parse().expect("the committed files are well-formed");
    let validator = jsonschema::validator_for(&schema).expect("the committed files are well-formed");
    let errors: Vec<String> = validator
        .iter_errors(&serde_json::to_value(table).expect("the committed files are well-formed"))
        .map(|e| e.to_string())
        .collect();
    errors.is_empty()
}

#[test]
fn good_configs_are_good_for_both() {
    let everything = include_str!("samples/everything.toml");
    let effective = parse("x", everything).config.to_toml();
    for text in ["", "hostname = \"a\"", everything, &effective] {
        assert_eq!(parse("x", text).problems, []);
        assert!(is_valid(text), "{text}");
    }
}

#[test]
fn bad_configs_are_bad_for_both() {
    for text in [
        "hostnam = \"a\"",
        "hostname = \"a b\"",
        "hostname = 1",
        "[network]\ndns = \"192.0.2.1\"",
        "[[network.links]]\nmatch = { nam = \"eth0\" }",
        "[[network.links]]\nmatch = { mac = \"52:54\" }",
        "[[network.links]]\nmatch = { name = \"eth0\" }\nmtu = 9",
        "[[network.links]]\nmatch = { name = \"eth0\" }\ndhcp = \"maybe\"",
        "[[network.links]]\nname = \"v\"\nvlan = { id = 5000, parent = \"eth0\" }",
        "[[network.links]]\nname = \"v\"\nvlan = { id = 5 }",
        "[[files]]\npath = \"/usr/x\"\ncontent = \"\"",
        "[[files]]\npath = \"/etc/x\"",
        "[[files]]\npath = \"/etc/x\"\ncontent = \"\"\nmode = \"644x\"",
        "[[registries]]\nhost = \"docker.io\"",
        "[[registries]]\nhost = \"https://docker.io\"\nendpoints = [{ url = \"https://a\" }]",
        "[[registries]]\nhost = \"docker.io\"\nendpoints = [{ url = \"ftp://a\" }]",
        "[[registries]]\nhost = \"docker.io\"\nendpoints = [{ url = \"https://a\", ca-file = \"a.pem\" }]",
        "[proxy]\nhttps = \"https://proxy.example\"",
        "[proxy]\nhttps = \"http://p/path\"",
        "[proxy]\nno-proxy = \"localhost\"",
        "[proxy]\nno-proxy = [\"a,b\"]",
        "[proxy]\nno_proxy = [\"a\"]",
        "[route]\nlisten = [\"80\"]",
        "[route]\nresponse-timeout-s = 0",
        "[route]\nredirect-https = \"yes\"",
        "[route]\ntrusted-proxies = [\"proxy\"]",
        "[route]\ncertificates = [{ hosts = [\"a\"], chain = \"-----BEGIN A-----END \" }]",
        "[route]\ncertificates = [{ hosts = [\"*a\"], chain = \"-----BEGIN A-----END \", key = \"-----BEGIN A-----END \" }]",
        "[host]\nlisten = [\"7443\"]",
        "[host]\ntrust-bundle = \"a.pem\"",
        "[host]\nport = 7443",
        "[logs]\nbuffer-mib = 0",
        "[logs]\ndestinations = [{ name = \"a\", url = \"udp://a:1\" }]",
        "[logs]\ndestinations = [{ name = \"a\", url = \"tcp://a\" }]",
        "[logs]\ndestinations = [{ name = \"a\", url = \"tcp://a:1\", sources = [\"all\"] }]",
        "[logs]\ndestinations = [{ url = \"tcp://a:1\" }]",
        "[identity]\nauthority = { certificate = \"-----BEGIN A-----END \" }",
        "[sysctl]\n\"vm.x\" = true",
        "[watchdog]\ntimeout-s = 1",
        "[[containers]]\nname = \"a\"",
        "[[containers]]\nname = \"a\"\nimage = \"b\"\nimag = \"c\"",
        "[[containers]]\nname = \"a\"\nimage = \"b\"\nnetwork = \"none\"",
        "[kubelet]\nserver = \"x\"",
        "[kubelet]\ntoken = \"x\"",
        "[kubelet]\nlabels = { \"a/b/c\" = \"x\" }",
        "[kubelet]\ntaints = [\"a:Never\"]",
        "[kubelet]\nmax-pods = 0",
        "[[pods]]\nroute = \"a\"",
        "[[pods]]\nmanifest = \"a\"\nroute-port = 0",
    ] {
        assert_ne!(parse("x", text).problems, [], "{text}");
        assert!(!is_valid(text), "{text}");
    }
}
