//! The C compiler for crates that bring C or assembly (`ring`): gcc of the tool tree with musl's headers and nothing of
//! glibc's. Crates find it through the variables of the crate `cc`.

use super::rust_std;
use crate::arch::Arch;

/// Where the sandbox shows the tool set with musl.
pub(super) const MUSL: &str = "/musl";

/// Variables that name compiler, archiver and flags for `arch`, on a machine of `host`.
pub(super) fn environment(arch: Arch, host: Arch) -> [(String, String); 3] {
    let target = arch.musl_target().replace('-', "_");
    let gnu = arch.gnu_triplet();
    let headers = format!("{MUSL}/usr/include/{}", arch.musl_triplet());
    // stddef.h and its kin belong to the compiler.
    let own_headers = format!("{}/include", rust_std::gcc_folder(arch, host));
    let flags = [
        // Headers of glibc would be found, too.
        "-nostdinc".to_owned(),
        format!("-isystem {headers}"),
        format!("-isystem {own_headers}"),
        // There is no unwinder that could read them.
        "-fno-asynchronous-unwind-tables".to_owned(),
        // Fortified functions have counterparts in glibc only, should a crate ask for them.
        "-U_FORTIFY_SOURCE".to_owned(),
        // Objects name the folder that their sources lay in.
        "-ffile-prefix-map=/vendor/=".to_owned(),
        "-ffile-prefix-map=/target/=".to_owned(),
    ];
    [
        (format!("CC_{target}"), format!("{gnu}-gcc-14")),
        (format!("AR_{target}"), format!("{gnu}-ar")),
        (format!("CFLAGS_{target}"), flags.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_has_its_own_compiler_and_musls_headers() {
        let [cc, ar, flags] = environment(Arch::Aarch64, Arch::X86_64);
        let names = ["CC", "AR", "CFLAGS"].map(|name| format!("{name}_aarch64_unknown_linux_musl"));
        assert_eq!([&cc.0, &ar.0, &flags.0], [&names[0], &names[1], &names[2]]);
        assert_eq!((cc.1.as_str(), ar.1.as_str()), ("aarch64-linux-gnu-gcc-14", "aarch64-linux-gnu-ar"));
        assert!(
            flags.1.starts_with("-nostdinc -isystem /musl/usr/include/aarch64-linux-musl "),
            "{}",
            flags.1
        );
        assert!(flags.1.contains("-isystem /usr/lib/gcc-cross/aarch64-linux-gnu/14/include "), "{}", flags.1);
        let [.., flags] = environment(Arch::Aarch64, Arch::Aarch64);
        assert!(flags.1.contains("-isystem /usr/lib/gcc/aarch64-linux-gnu/14/include "), "{}", flags.1);
    }
}
