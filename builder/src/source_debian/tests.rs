//! Picking files out of made-up packages; real ELF files come from this very test program.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::digest::Digest;
use crate::lock::{Archive, LockedPackage};
use crate::spec::Install;

const ARCH: Arch = if cfg!(target_arch = "x86_64") { Arch::X86_64 } else { Arch::Aarch64 };
const OTHER: Arch = if cfg!(target_arch = "x86_64") { Arch::Aarch64 } else { Arch::X86_64 };

/// This program: dynamic, with a loader and libc.
fn program() -> Vec<u8> {
    fs::read(std::env::current_exe().unwrap()).unwrap()
}

fn put(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn link(dir: &Path, path: &str, target: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

fn packages(tree: &Path, names: &[&str]) -> Packages {
    let pinned = LockedPackage {
        version: "1".to_owned(),
        archive: Archive::Debian,
        path: "x".to_owned(),
        size: 1,
        sha256: Digest::of(b"x"),
    };
    let ids: Vec<String> = names.iter().map(|name| format!("{name}:{}", ARCH.debian())).collect();
    Packages::new(tree.to_owned(), ids.iter().map(|id| (id, &pinned)).collect())
}

fn dir_of(tree: &Path, name: &str) -> PathBuf {
    tree.join(format!("{name}:{}", ARCH.debian()))
}

fn recipe(from: &str) -> PlannedPackage {
    let install = Install {
        from: from.to_owned(),
        to: "/usr/bin/tool".parse().unwrap(),
        mode: "0755".to_owned(),
        join: false,
    };
    PlannedPackage {
        name: "tools".parse().unwrap(),
        source: SourceSpec::Debian { packages: vec!["tool".to_owned()] },
        install: vec![install],
        links: BTreeMap::new(),
        folders: Vec::new(),
        services: Vec::new(),
    }
}

/// A tree with this program as /usr/sbin/tool and every library it names.
fn complete(tree: &Path) -> Vec<String> {
    put(&dir_of(tree, "tool"), "usr/sbin/tool", &program());
    put(&dir_of(tree, "tool"), "usr/share/doc/tool/copyright", b"free");
    let needs = Needs::of(&program()).unwrap().unwrap();
    let loader = merged_file(&needs);
    put(&dir_of(tree, "libc"), &loader, b"loader");
    for library in &needs.libraries {
        let path = format!("usr/lib/{}/{library}", ARCH.gnu_triplet());
        if !dir_of(tree, "libc").join(&path).exists() {
            put(&dir_of(tree, "libc"), &path, b"library");
        }
    }
    needs.libraries
}

fn merged_file(needs: &Needs) -> String {
    packages::merged(needs.loader.as_ref().unwrap())[1..].to_owned()
}

#[test]
fn a_program_brings_its_loader_libraries_and_copyright() {
    let tree = tempfile::tempdir().unwrap();
    let libraries = complete(tree.path());
    assert!(!libraries.is_empty(), "the test program is dynamic");
    let mut inputs = Inputs::default();
    let found = packages(tree.path(), &["libc", "tool"]);
    add(&recipe("/sbin/tool"), ARCH, &found, &mut inputs).unwrap();
    let own = inputs.packages.values().flatten().map(|(path, _)| path.to_string()).collect::<Vec<_>>();
    assert_eq!(own, ["/usr/bin/tool"]);
    let shared: Vec<String> = inputs.shared.keys().map(ToString::to_string).collect();
    for library in libraries {
        assert!(shared.iter().any(|path| path.ends_with(&format!("/{library}"))), "{library}: {shared:?}");
    }
    assert!(shared.contains(&"/usr/share/doc/tool/copyright".to_owned()), "{shared:?}");
}

#[test]
fn what_is_missing_is_named_with_the_file_that_wants_it() {
    let tree = tempfile::tempdir().unwrap();
    put(&dir_of(tree.path(), "tool"), "usr/sbin/tool", &program());
    let found = packages(tree.path(), &["tool"]);
    let mut inputs = Inputs::default();
    let error = add(&recipe("/usr/sbin/tool"), ARCH, &found, &mut inputs).unwrap_err().to_string();
    assert!(error.contains("/usr/sbin/tool needs the shared library"), "{error}");
    let error = add(&recipe("/usr/sbin/tol"), ARCH, &found, &mut inputs).unwrap_err().to_string();
    assert!(error.contains("wants /usr/sbin/tol, which none of its Debian packages has (tool)"), "{error}");
    let error = add(&recipe("/usr/sbin/tool"), OTHER, &found, &mut inputs).unwrap_err();
    assert!(matches!(error, DebianError::WrongArch { .. }), "{error}");
}

#[test]
fn links_are_followed_inside_of_the_packages() {
    let tree = tempfile::tempdir().unwrap();
    let (one, two) = (dir_of(tree.path(), "one"), dir_of(tree.path(), "two"));
    put(&two, "usr/lib/real/x.so.1.2", b"x");
    link(&one, "usr/lib/x.so", "/lib/folder/x.so.1");
    link(&one, "usr/lib/folder", "real");
    link(&two, "usr/lib/real/x.so.1", "../../lib/./real/x.so.1.2");
    link(&one, "usr/lib/round", "round");
    link(&one, "usr/lib/out", "/etc/passwd");
    let found = packages(tree.path(), &["one", "two"]);
    let picked = found.find("/lib/x.so").unwrap();
    assert_eq!((picked.package.as_str(), fs::read(picked.path).unwrap()), ("two", b"x".to_vec()));
    assert_eq!(found.find("/usr/lib/round"), None);
    assert_eq!(found.find("/usr/lib/out"), None);
    assert_eq!(found.find("/../../etc/passwd"), None);
}

#[test]
fn joined_files_are_one_in_the_order_of_their_names() {
    let tree = tempfile::tempdir().unwrap();
    let dir = dir_of(tree.path(), "tool");
    for (name, bytes) in [("b.crt", "2\n"), ("a.crt", "1\n"), ("c.txt", "3\n"), ("below/d.crt", "4\n")] {
        put(&dir, &format!("usr/share/ca/{name}"), bytes.as_bytes());
    }
    put(&dir, "usr/share/doc/tool/copyright", b"free");
    let found = packages(tree.path(), &["tool"]);
    let joining = |from: &str| {
        let mut recipe = recipe(from);
        recipe.install[0].join = true;
        let mut inputs = Inputs::default();
        add(&recipe, ARCH, &found, &mut inputs).map(|()| inputs).map_err(|error| error.to_string())
    };
    let inputs = joining("/usr/share/ca/*.crt").unwrap();
    let nodes: Vec<&(RootPath, Node)> = inputs.packages.values().flatten().collect();
    let [(path, Node { kind: NodeKind::File(content), mode: 0o755, owner })] = nodes[..] else {
        panic!("{nodes:?}");
    };
    let mut text = String::new();
    content.reader().read_to_string(&mut text).unwrap();
    assert_eq!(
        (path.as_str(), text.as_str(), owner.as_str()),
        ("/usr/bin/tool", "1\n2\n", "Debian package tool")
    );
    assert!(inputs.shared.keys().any(|path| path.as_str() == "/usr/share/doc/tool/copyright"));
    let error = joining("/usr/share/ca/*.pem").unwrap_err();
    assert!(error.contains("wants /usr/share/ca/*.pem, which none of its Debian packages has"), "{error}");
    put(&dir, "usr/share/ca/e.crt", b"no line end");
    let error = joining("/usr/share/ca/*.crt").unwrap_err();
    assert!(error.contains("e.crt does not end with a line end"), "{error}");
}
