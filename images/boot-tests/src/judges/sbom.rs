//! The bill of materials and the provenance: the validators of SPDX and of the NTIA's minimum elements read the one, and
//! both are compared with what really lies in the image and beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use lepton_builder::digest::Digest;
use lepton_builder::{provenance, sbom};
use serde_json::Value;

use super::case::{Defect, hold};
use super::initrd::Initrd;
use super::plant::Copy;
use super::{Verdict, files, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// Parses and validates as `pyspdxtools` does, without its guesses about output.
const SPDX: &str = r#"
import sys
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
try:
    messages = [str(message) for message in validate_full_spdx_document(parse_file(sys.argv[1]))]
except SPDXParsingError as error:
    messages = error.get_messages()
print(*messages, sep="\n")
sys.exit(1 if messages else 0)
"#;
/// Its exit code says whether the document has the minimum elements; validating is the other judge's work.
const NTIA: &str = r#"
import sys
from ntia_conformance_checker.main import main
sys.argv = ["ntia-checker", "--skip-validation", sys.argv[1]]
sys.exit(main())
"#;

/// The SPDX document by spdx-tools.
pub(super) fn spdx(cx: &Context) -> Verdict {
    python(
        cx,
        "spdx-tools",
        SPDX,
        &[
            (
                "a relationship to nothing",
                "\"relatedSpdxElement\": \"SPDXRef-Kernel\"",
                "\"relatedSpdxElement\": \"SPDXRef-Nothing\"",
            ),
            ("a file without SHA-1", "\"algorithm\": \"SHA1\"", "\"algorithm\": \"MD5\""),
            ("a licence that is none", "\"licenseDeclared\": \"MIT\"", "\"licenseDeclared\": \"MIT or so\""),
            ("a document without a namespace", "\"documentNamespace\"", "\"namespace\""),
        ],
    )
}

/// The SPDX document by ntia-conformance-checker.
pub(super) fn ntia(cx: &Context) -> Verdict {
    python(
        cx,
        "ntia-checker",
        NTIA,
        &[
            ("a package without a supplier", "\"supplier\": \"Organization: Debian\",", ""),
            ("a package without a version", "\"versionInfo\": \"0.1.0\",", ""),
            ("a document without a time", "\"created\": \"", "\"created\": \"not "),
        ],
    )
}

/// A judge in Python, with defects that replace text wherever it stands.
fn python(cx: &Context, judge: &'static str, code: &str, defects: &[(&'static str, &str, &str)]) -> Verdict {
    let ask = |path: &Path| tool::ask(judge, &tool::python(cx, code, path)?.arg(tool::shown(path))).map(drop);
    let plants: Vec<_> = defects
        .iter()
        .map(|(what, from, to)| (*what, move |copy: &Copy| substitute(copy, from, to)))
        .collect();
    let defects: Vec<Defect<'_>> = plants.iter().map(|(what, plant)| Defect::new(what, plant)).collect();
    hold(&cx.artifact(sbom::EXTENSION)?, &ask, &defects)
}

fn substitute(copy: &Copy, from: &str, to: &str) -> io::Result<()> {
    let text = String::from_utf8_lossy(&copy.read_all()?).into_owned();
    if !text.contains(from) {
        return Err(io::Error::other(format!("{from} is not there to be spoiled")));
    }
    copy.replace(text.replace(from, to).as_bytes())
}

/// Everything with bytes in the image is claimed once, with its true digest; the document inside is the one beside.
pub(super) fn contents(cx: &Context) -> Verdict {
    let path = cx.artifact(sbom::EXTENSION)?;
    let (own, _) = Digest::of_file(&path).map_err(TestError::file("read", &path))?;
    let pxe = cx.artifact("pxe")?;
    let (kernel, _) = Digest::of_file(&pxe.join("vmlinuz")).map_err(TestError::file("read", &pxe))?;
    let init = Digest::of(Initrd::open(&pxe.join("initrd"))?.file("init")?);
    let mut files = regular_files(&cx.root_listing);
    let inside = files.remove(sbom::PATH);
    require(JUDGE, inside == Some(own.to_string()), || format!("{} is not the one beside", sbom::PATH))?;
    let judge = |path: &Path| {
        let document = read(path)?;
        claims(&document, &files)?;
        for (element, digest) in [("SPDXRef-Kernel", kernel), ("SPDXRef-Program-init", init)] {
            let package = items(&document, "packages").find(|package| package["SPDXID"] == element);
            let claimed = package.map(|package| checksum(package, "SHA256"));
            require(JUDGE, claimed == Some(digest.to_string()), || format!("{element} is {claimed:?}"))?;
        }
        Ok(())
    };
    let init_text = init.to_string();
    let some_file = files.values().next().cloned().unwrap_or_default();
    let other_init = |copy: &Copy| substitute(copy, &init_text, &"0".repeat(64));
    let other_file = |copy: &Copy| substitute(copy, &some_file, &"0".repeat(64));
    let lost =
        |copy: &Copy| substitute(copy, "\"fileName\": \"./usr/lib/os-release\"", "\"fileName\": \"./other\"");
    let unowned = |copy: &Copy| {
        substitute(
            copy,
            "\"relatedSpdxElement\": \"SPDXRef-File-1\"",
            "\"relatedSpdxElement\": \"SPDXRef-File-2\"",
        )
    };
    hold(
        &path,
        &judge,
        &[
            Defect::new("a wrong checksum of PID 1", &other_init),
            Defect::new("a wrong checksum of a file", &other_file),
            Defect::new("a file that is not listed", &lost),
            Defect::new("a file of two packages", &unowned),
        ],
    )
}

const JUDGE: &str = "contents of the bill of materials";

/// Path and digest of every regular file of a listing as `RootTree::listing` writes it.
fn regular_files(listing: &str) -> BTreeMap<String, String> {
    let file = |line: &str| {
        let mut words = line.split(' ').skip(3);
        let path = words.next()?;
        let [_, digest] = words.collect::<Vec<_>>()[..] else { return None };
        (digest.len() == 64).then(|| (path.to_owned(), digest.to_owned()))
    };
    listing.lines().filter_map(file).collect()
}

fn claims(document: &Value, files: &BTreeMap<String, String>) -> Verdict {
    let mut listed = BTreeMap::new();
    for file in items(document, "files") {
        let name = file["fileName"].as_str().unwrap_or_default().trim_start_matches('.').to_owned();
        let owners = items(document, "relationships").filter(|relation| {
            relation["relationshipType"] == "CONTAINS" && relation["relatedSpdxElement"] == file["SPDXID"]
        });
        let count = owners.count();
        require(JUDGE, count == 1, || format!("{name} is in {count} packages"))?;
        listed.insert(name, checksum(file, "SHA256"));
    }
    require(JUDGE, listed == *files, || {
        let lines = |files: &BTreeMap<String, String>| {
            files.iter().map(|(path, digest)| format!("{digest} {path}\n")).collect::<String>()
        };
        format!("the files are not those of the root:{}", files::difference(&lines(files), &lines(&listed)))
    })
}

fn checksum(element: &Value, algorithm: &str) -> String {
    let sums = element["checksums"].as_array().into_iter().flatten();
    let mut found = sums.filter(|sum| sum["algorithm"] == algorithm);
    found.next().and_then(|sum| sum["checksumValue"].as_str()).unwrap_or_default().to_owned()
}

fn items<'a>(document: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    document[list].as_array().into_iter().flatten()
}

fn read(path: &Path) -> Result<Value, TestError> {
    let text = fs::read_to_string(path).map_err(TestError::file("read", path))?;
    serde_json::from_str(&text).map_err(|error| refuse(JUDGE, error.to_string()))
}

/// The provenance names every other file of the image with its digest, and what it was made from.
pub(super) fn provenance(cx: &Context) -> Verdict {
    const JUDGE: &str = "provenance";
    let path = cx.artifact(provenance::EXTENSION)?;
    let own = format!("{}.{}", cx.stem, provenance::EXTENSION);
    let mut files = BTreeMap::new();
    for name in files::names(cx)?.into_iter().filter(|name| *name != own) {
        let file = cx.artifacts.join(&name);
        let (digest, _) = Digest::of_file(&file).map_err(TestError::file("read", &file))?;
        files.insert(name, digest.to_string());
    }
    let judge = |path: &Path| {
        let statement = read(path)?;
        let sum = |resource: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&resource["name"]), text(&resource["digest"]["sha256"]))
        };
        let subjects: BTreeMap<String, String> = items(&statement, "subject").map(sum).collect();
        require(JUDGE, subjects == files, || "the subjects are not the files".to_owned())?;
        let definition = &statement["predicate"]["buildDefinition"];
        let used: Vec<(String, String)> = items(definition, "resolvedDependencies").map(sum).collect();
        for name in ["plan", "root", "init", "linux-source-6.12:all"] {
            let found = used.iter().any(|(other, digest)| other == name && digest.len() == 64);
            require(JUDGE, found, || format!("{name} is not among what was used"))?;
        }
        let types = [&statement["_type"], &statement["predicateType"]];
        let wanted = ["https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"];
        require(JUDGE, types.iter().zip(wanted).all(|(found, wanted)| **found == wanted), || {
            format!("it is {types:?}")
        })
    };
    let some = files.values().next().cloned().unwrap_or_default();
    let wrong = |copy: &Copy| substitute(copy, &some, &"0".repeat(64));
    let unused = |copy: &Copy| substitute(copy, "\"linux-source-6.12:all\"", "\"linux-source\"");
    hold(
        &path,
        &judge,
        &[
            Defect::new("a wrong digest of an artifact", &wrong),
            Defect::new("a source that is not named", &unused),
        ],
    )
}
