//! Documents as tools write them, and as nobody should.

use expect_test::{Expect, expect};

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor(kind: &str, more: &str) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"sha256:{HEX}","size":7{more}}}"#)
}

fn image(layers: &[&str]) -> String {
    let layers: Vec<String> = layers.iter().map(|kind| descriptor(kind, "")).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor(OCI_CONFIG, ""),
        layers.join(",")
    )
}

fn index(platforms: &[&str]) -> String {
    let entries: Vec<String> = platforms
        .iter()
        .enumerate()
        .map(|(number, platform)| {
            let mut parts = platform.split('/');
            let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
            let variant = parts.next().map(|name| format!(r#","variant":"{name}""#)).unwrap_or_default();
            let platform = format!(
                r#","platform":{{"os":"{os}","architecture":"{architecture}"{variant}}},"annotations":{{"n":"{number}"}}"#
            );
            descriptor(OCI_MANIFEST, &platform)
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, entries.join(","))
}

fn check(document: &str, said: &str, wanted: Expect) {
    let shown = match parse(document.as_bytes(), said, 2) {
        Ok(Document::Index(entries)) => format!("index of {}", entries.len()),
        Ok(Document::Manifest(manifest)) => {
            let kinds: Vec<_> = manifest.layers.iter().map(|layer| layer.compression).collect();
            format!("manifest with {kinds:?}")
        }
        Err(error) => error.to_string(),
    };
    wanted.assert_eq(&shown);
}

#[test]
fn documents() {
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    check(&image(&[gzip, docker]), OCI_MANIFEST, expect!["manifest with [Gzip, Gzip]"]);
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    check(
        &image(&[OCI_LAYER, zstd]),
        "application/json; charset=utf-8",
        expect!["manifest with [None, Zstd]"],
    );
    check(&image(&[]), "", expect!["manifest with []"]);
    check(&index(&["linux/amd64"]), OCI_INDEX, expect!["index of 1"]);
    let untyped = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(OCI_MANIFEST, ""));
    check(&untyped, DOCKER_LIST, expect!["index of 1"]);
}

#[test]
fn refused() {
    check(
        "<html>",
        "text/html",
        expect![[
            r#"content type "text/html" is not that of an image's manifest or index (OCI, or Docker schema 2)"#
        ]],
    );
    check("<html>", OCI_MANIFEST, expect!["the manifest is not what its type says"]);
    check("{}", "", expect!["the manifest is not what its type says"]);
    check(
        r#"{"schemaVersion":1,"name":"x"}"#,
        "",
        expect![
            "the manifest is of Docker's schema 1, which is not supported: push the image again with a current tool"
        ],
    );
    check(
        "{}",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        expect![
            "the manifest is of Docker's schema 1, which is not supported: push the image again with a current tool"
        ],
    );
    check(
        &image(&[]),
        OCI_INDEX,
        expect![[
            r#"the registry says "application/vnd.oci.image.index.v1+json", the document says "application/vnd.oci.image.manifest.v1+json""#
        ]],
    );
    let both = format!(
        r#"{{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}}"#,
        descriptor(OCI_CONFIG, "")
    );
    check(
        &both,
        OCI_MANIFEST,
        expect!["the document has both `manifests` and `layers` or `config`: it is ambiguous"],
    );
    check(
        &both,
        OCI_INDEX,
        expect!["the document has both `manifests` and `layers` or `config`: it is ambiguous"],
    );
    let chart = image(&[]).replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
    check(
        &chart,
        "",
        expect![[
            r#"the configuration is of type "application/vnd.cncf.helm.config.v1+json": it is an artifact, not an image"#
        ]],
    );
    check(
        &image(&["application/x-7z"]),
        "",
        expect![[
            r#"layer sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 is of type "application/x-7z"; tar, tar+gzip and tar+zstd are supported"#
        ]],
    );
    check(&image(&[OCI_LAYER; 3]), "", expect!["the image has 3 layers; the limit is 2"]);
    check(
        &image(&[]).replace("\"size\":7", "\"size\":-7"),
        "",
        expect!["the manifest is not what its type says"],
    );
    check(&image(&[]).replace(HEX, "../../etc"), "", expect!["the manifest is not what its type says"]);
    check(
        &format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        "",
        expect!["the manifest is not what its type says"],
    );
}

fn chosen(platforms: &[&str], architecture: &str, variant: Option<&str>) -> Result<String, String> {
    let Ok(Document::Index(entries)) = parse(index(platforms).as_bytes(), "", 2) else { panic!("an index") };
    let host = Platform { architecture: architecture.into(), variant: variant.map(Into::into) };
    choose(&entries, &host).map(|entry| entry.annotations["n"].clone()).map_err(|error| error.to_string())
}

#[test]
fn the_platform_of_the_host_is_chosen() {
    let many =
        ["linux/arm/v7", "windows/amd64", "linux/amd64", "linux/arm64/v8", "unknown/unknown", "linux/arm64"];
    assert_eq!(chosen(&many, "amd64", None).unwrap(), "2");
    assert_eq!(chosen(&many, "arm64", Some("v8")).unwrap(), "3");
    assert_eq!(chosen(&["linux/arm64"], "arm64", Some("v8")).unwrap(), "0");
    assert_eq!(chosen(&["linux/arm64/v9", "linux/arm64"], "arm64", Some("v8")).unwrap(), "1");
    assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64"], "amd64", None).unwrap(), "1");
    assert_eq!(chosen(&["linux/amd64/v1"], "amd64", None).unwrap(), "0");
    expect!["the index has no image for linux/arm64/v8; it has: linux/amd64, windows/arm64"]
        .assert_eq(&chosen(&["linux/amd64", "windows/arm64"], "arm64", Some("v8")).unwrap_err());
}

#[test]
fn configurations() {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":"web","Env":null,"Cmd":["sh"],"Volumes":{{"/data":{{}}}},
        "ExposedPorts":{{"80/tcp":{{}}}},"StopSignal":"SIGQUIT","Labels":{{"a":"b"}},"Entrypoint":null,"OnBuild":null}},
        "rootfs":{{"type":"layers","diff_ids":["sha256:{HEX}"]}},"history":[{{"created_by":"x"}}]}}"#
    );
    let read = configuration(text.as_bytes(), 1).unwrap();
    assert_eq!((read.config.user.as_str(), read.config.stop_signal.as_str()), ("web", "SIGQUIT"));
    assert_eq!(
        (read.config.volumes, read.config.exposed_ports),
        (vec!["/data".into()], vec!["80/tcp".to_owned()])
    );
    assert_eq!((read.config.cmd, read.diff_ids), (vec!["sh".to_owned()], vec![Digest::of(b"")]));
    expect!["the configuration has 1 diff IDs, the manifest 2 layers"]
        .assert_eq(&configuration(text.as_bytes(), 2).unwrap_err().to_string());
    let windows = text.replace(r#""os":"linux""#, r#""os":"windows""#);
    expect![[r#"the image is for the operating system "windows", not linux"#]]
        .assert_eq(&configuration(windows.as_bytes(), 1).unwrap_err().to_string());
}

#[test]
fn chain_ids_follow_the_specification() {
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    assert_eq!(chain_ids(&[]), []);
    assert_eq!(chain_ids(&[one]), [one]);
    assert_eq!(chain_ids(&[one, two])[1], Digest::of(format!("{one} {two}").as_bytes()));
}
