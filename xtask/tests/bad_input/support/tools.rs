//! The tools of a bench: this machine's shell with scripts that do as little as a build can bear.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use lepton_builder::arch::Arch;

use super::deb::{Files, package, program};

/// Programs of this machine that the scripts use.
const PROGRAMS: [&str; 5] = ["/bin/sh", "/bin/cp", "/bin/mkdir", "/bin/sleep", "/bin/tar"];

/// Writes what it was asked for, but for one symbol that it never gives.
const MAKE: &str = r#"
out=/work/out
case " $* " in
*" allnoconfig "*)
  while read -r line; do
    case "$line" in
    CONFIG_IMPOSSIBLE=*) ;;
    *) printf '%s\n' "$line" ;;
    esac
  done < /work/wanted.config > $out/.config ;;
*)
  mkdir -p $out/arch/x86/boot $out/arch/arm64/boot $out/include/config
  for image in x86/boot/bzImage arm64/boot/vmlinuz.efi arm64/boot/Image; do
    cp /work/source/linux $out/arch/$image
  done
  echo 6.12.0-test > $out/include/config/kernel.release ;;
esac
"#;
const TAR: &str = "cp /usr/src/linux-source-6.12.tar.xz /work/source/linux; echo > /work/source/Makefile";
/// Compiles the library, whose files nobody reads, or the program that is asked for, and says which crate that was
/// made of.
const CARGO: &str = r#"
program=init
folder=init
for word; do
  case "$before" in
  --bin) program=$word ;;
  --manifest-path) folder=${word%/Cargo.toml} ;;
  esac
  before=$word
done
for arch in x86_64 aarch64; do
  target=$CARGO_TARGET_DIR/$arch-unknown-linux-musl
  mkdir -p $target/release/deps $target/guest
  echo library > $target/release/deps/libstd-1.rlib
  echo $program > $target/guest/$program
done
case "$*" in
*x86_64-*--message-format=json) arch=x86_64 ;;
*aarch64-*--message-format=json) arch=aarch64 ;;
*) exit 0 ;;
esac
file=/target/$arch-unknown-linux-musl/guest/$program
manifest=/source/$folder/Cargo.toml
echo "{\"reason\":\"compiler-artifact\",\"manifest_path\":\"$manifest\",\"features\":[],\"filenames\":[\"$file\"]}"
"#;
/// Compiles any program, and says that it is made of two modules.
const GO: &str = r#"
case "$1" in
list) mkdir -p "$GOMODCACHE/cache/download" ;;
build)
  for word; do
    case "$before" in -o) echo "$*" > $word ;; esac
    before=$word
  done ;;
version)
  sum=h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
  printf '%s: go1.26\n\tpath\tx\n\tmod\texample.org/plugins\tv1.2.3\t%s\n' "$3" $sum
  printf '\tdep\texample.org/netlink\tv0.4.0\t%s\n' $sum ;;
esac
"#;
const CC: &str = "echo object > unwind.o";
const AR: &str = "cp unwind.o libunwind.a";
const EROFS: &str = "cp /work/root.tar /work/rootfs.erofs";
/// The machine's own tar, because a script of the bench has its name.
const UNTAR: &str = "untar";
const EROFS_CHECK: &str = "mkdir /work/unpacked; untar -xf /work/rootfs.erofs -C /work/unpacked";

/// What the tools do: name -> body of a shell script.
#[derive(Clone)]
pub(crate) struct Scripts(BTreeMap<&'static str, String>);

impl Default for Scripts {
    fn default() -> Self {
        let scripts = [
            ("tar", TAR),
            ("make", MAKE),
            ("cargo", CARGO),
            ("go", GO),
            ("aarch64-linux-gnu-ar", AR),
            ("aarch64-linux-gnu-gcc-14", CC),
            ("x86_64-linux-gnu-ar", AR),
            ("x86_64-linux-gnu-gcc-14", CC),
            ("mkfs.erofs", EROFS),
            ("fsck.erofs", EROFS_CHECK),
            ("mke2fs", "exit 0"),
            ("kernel-hardening-checker", "echo []"),
        ];
        Self(scripts.into_iter().map(|(name, body)| (name, body.to_owned())).collect())
    }
}

impl Scripts {
    /// With another body for one tool.
    pub(crate) fn with(mut self, name: &'static str, body: &str) -> Self {
        self.0.insert(name, body.to_owned());
        self
    }

    fn files(&self) -> Files {
        let script = |(name, body): (&&str, &String)| {
            (format!("usr/bin/{name}"), 0o755, format!("#!/bin/sh\nset -e\n{body}\n").into_bytes())
        };
        self.0.iter().map(script).collect()
    }
}

/// The packages of a bench for images of this machine's architecture: name -> bytes of the .deb file.
pub(crate) fn packages(scripts: &Scripts, arch: Arch) -> BTreeMap<&'static str, Vec<u8>> {
    let empty = |path: String| (path, 0o644, Vec::new());
    let musl = ["crt1.o", "rcrt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.a"];
    let gcc = ["crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o"];
    let musl_files = musl.map(|name| empty(format!("usr/lib/{}/{name}", arch.musl_triplet())));
    let mut tools = scripts.files();
    tools.extend(gcc.map(|name| empty(format!("usr/lib/gcc/{}/14/{name}", arch.gnu_triplet()))));
    let (efi, suffix) = ("usr/lib/systemd/boot/efi", arch.efi_suffix());
    for name in [format!("linux{suffix}.efi.stub"), format!("systemd-boot{suffix}.efi")] {
        tools.push((format!("{efi}/{name}"), 0o644, program(arch)));
    }
    let source = vec![("usr/src/linux-source-6.12.tar.xz".to_owned(), 0o644, program(arch))];
    BTreeMap::from([
        ("shell", SHELL.clone()),
        ("tools", package(&tools)),
        ("musl", package(&musl_files.to_vec())),
        ("linux-source-6.12", package(&source)),
    ])
}

/// The shell, the programs that scripts use, and their libraries as this machine's own loader finds them.
static SHELL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let output = Command::new("ldd").args(PROGRAMS).output().expect("ldd, which comes with the C library");
    let text = String::from_utf8(output.stdout).expect("paths are text");
    let words = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    let mut paths: Vec<&str> = PROGRAMS.into_iter().chain(words).collect();
    paths.sort_unstable();
    paths.dedup();
    let file = |path: &str| {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let below_usr = path.strip_prefix("/usr").unwrap_or(path);
        let place = match below_usr.strip_suffix("/tar") {
            Some(folder) => format!("usr{folder}/{UNTAR}"),
            None => format!("usr{below_usr}"),
        };
        (place, 0o755, bytes)
    };
    package(&paths.into_iter().map(file).collect())
});
