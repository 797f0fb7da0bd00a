//! openssl's reading of what a folder holds, as strict as it can be (`-x509_strict`: RFC 5280 to the letter).
//!
//! `cargo xtask test` runs this. `LEPTON_TEST_MONITORING` names the tool tree that has openssl; without it this says so.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../../logs/tests/judges/tools.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lepton_host_api::roles::Role;
use lepton_keys::{Folder, Lifetime};

use tools::Tree;

struct Openssl {
    tree: Tree,
    dir: tempfile::TempDir,
}

impl Openssl {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether it succeeds, and all that it says. Words without a slash that end in a file's ending are files of the folder.
    fn run(&self, words: &str) -> (bool, String) {
        let mut command = self.tree.command("usr/bin/openssl");
        let is_file = |word: &str| [".pem", ".key", ".csr", ".ext"].iter().any(|end| word.ends_with(end));
        for word in words.split_whitespace() {
            if is_file(word) {
                command.arg(self.path(word))
            } else {
                command.arg(word)
            };
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), said)
    }

    #[track_caller]
    fn agrees(&self, words: &str) -> String {
        let (is_good, said) = self.run(words);
        assert!(is_good, "{words}: {said}");
        said
    }

    #[track_caller]
    fn refuses(&self, words: &str, why: &str) {
        let (is_good, said) = self.run(words);
        assert!(!is_good && said.contains(why), "{words}: {said}");
    }
}

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "openssl judges certificates by this clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// What stands between two marks of a text.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn certificates_of_people_and_authorities_of_hosts() {
    let Some(tree) = Tree::find() else { return };
    let openssl = Openssl { tree, dir: tempfile::tempdir().unwrap() };
    let domain = "example.org".parse().unwrap();
    let folder = Folder::create(&openssl.path("."), &domain, now()).unwrap();
    let month: Lifetime = "30d".parse().unwrap();
    for role in Role::ALL {
        folder.issue(role, month, now(), &folder).unwrap();
        let pem = format!("{role}.pem");
        openssl.agrees(&format!("verify -x509_strict -purpose sslclient -CAfile operators.pem {pem}"));
        let text = openssl.agrees(&format!("x509 -noout -ext subjectAltName -in {pem}"));
        assert!(text.contains(&format!("URI:spiffe://example.org/role/{role}")), "{text}");
        // They are nobody's servers, and of another authority than hosts.
        let servers = format!("verify -purpose sslserver -CAfile operators.pem {pem}");
        openssl.refuses(&servers, "unsuitable certificate purpose");
        openssl.refuses(&format!("verify -CAfile hosts.pem {pem}"), "unable to get local issuer");
        openssl.agrees(&format!("pkey -check -noout -in {pem}"));
    }

    // What a machine config has: the host's authority, then the root.
    let fragment = folder.fragment(Lifetime::AUTHORITY, now()).unwrap();
    write(&openssl.path("authority.pem"), between(&fragment, "certificate = \"\"\"\n", "\"\"\""));
    write(&openssl.path("authority.key"), between(&fragment, "key = \"\"\"\n", "\"\"\""));
    openssl.agrees("pkey -check -noout -in authority.key");
    openssl.agrees("verify -x509_strict -CAfile hosts.pem authority.pem");
    let text = openssl.agrees("x509 -noout -ext subjectAltName,basicConstraints,keyUsage -in authority.pem");
    for words in ["URI:spiffe://example.org\n", "CA:TRUE, pathlen:0", "Certificate Sign"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }

    // It signs hosts, and authorities below it are none.
    write(&openssl.path("settings.ext"), "[req]\ndistinguished_name = name\n[name]\n");
    let sign = |name: &str, extensions: &str, issuer: &str| {
        write(&openssl.path(&format!("{name}.ext")), extensions);
        openssl.agrees(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O={name} -config settings.ext \
             -keyout {name}.key -out {name}.csr"
        ));
        openssl.agrees(&format!(
            "x509 -req -days 1 -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -extfile {name}.ext -out {name}.pem"
        ));
    };
    let of_host = "subjectAltName = URI:spiffe://example.org/host/1\nkeyUsage = critical, digitalSignature\n\
                   subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid:always\n";
    sign("host", of_host, "authority");
    openssl
        .agrees("verify -x509_strict -purpose sslserver -CAfile hosts.pem -untrusted authority.pem host.pem");
    let of_authority = "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n\
                        subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid:always\n";
    sign("below", of_authority, "authority");
    sign("other", of_host, "below");
    write(
        &openssl.path("chain.pem"),
        &["authority.pem", "below.pem"].map(|name| fs::read_to_string(openssl.path(name)).unwrap()).concat(),
    );
    openssl.refuses(
        "verify -CAfile hosts.pem -untrusted chain.pem other.pem",
        "path length constraint exceeded",
    );
}
