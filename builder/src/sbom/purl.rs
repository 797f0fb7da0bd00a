//! Package URLs (purl) and CPE names: how other databases call what is in an image.

use crate::digest::Digest;

/// `pkg:cargo/NAME@VERSION`.
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// `pkg:golang/NAMESPACE/NAME@VERSION`; the slashes of the module's path stay.
pub fn golang(path: &str, version: &str) -> String {
    let parts: Vec<String> = path.split('/').map(encode).collect();
    format!("pkg:golang/{}@{}", parts.join("/"), encode(version))
}

/// `pkg:deb/debian/NAME@VERSION?arch=ARCH`; `id` is as dpkg writes it (`gcc-14:amd64`).
pub fn debian(id: &str, version: &str) -> String {
    let (name, arch) = id.split_once(':').unwrap_or((id, "all"));
    format!("pkg:deb/debian/{}@{}?arch={}", encode(name), encode(version), encode(arch))
}

/// `pkg:oci/NAME@sha256:DIGEST?repository_url=REGISTRY/PATH&tag=TAG` of a whole name, `REGISTRY/PATH:TAG`.
pub(super) fn oci(name: &str, digest: Digest) -> String {
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let short = repository.rsplit('/').next().unwrap_or(repository);
    let place: Vec<String> = repository.split('/').map(encode).collect();
    format!(
        "pkg:oci/{}@sha256:{digest}?repository_url={}&tag={}",
        encode(short),
        place.join("/"),
        encode(tag)
    )
}

/// The CPE 2.3 name of a Linux kernel whose `uname -r` is `release`.
pub(super) fn linux_cpe(release: &str) -> String {
    let upstream = release.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    format!("cpe:2.3:o:linux:linux_kernel:{upstream}:*:*:*:*:*:*:*")
}

/// Percent-encoding as the purl specification asks for in names and versions.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_the_specifications_ask() {
        assert_eq!(cargo("serde", "1.0.1+x"), "pkg:cargo/serde@1.0.1%2Bx");
        assert_eq!(
            debian("systemd-boot-efi:amd64", "257.8-1~deb13u2"),
            "pkg:deb/debian/systemd-boot-efi@257.8-1~deb13u2?arch=amd64"
        );
        assert_eq!(
            golang("github.com/vishvananda/netlink", "v1.3.1+incompatible"),
            "pkg:golang/github.com/vishvananda/netlink@v1.3.1%2Bincompatible"
        );
        let digest = Digest::of(b"");
        assert_eq!(
            oci("localhost:5000/a/tools:1.2", digest),
            format!("pkg:oci/tools@sha256:{digest}?repository_url=localhost:5000/a/tools&tag=1.2")
        );
        assert_eq!(linux_cpe("6.12.94-rc1"), "cpe:2.3:o:linux:linux_kernel:6.12.94:*:*:*:*:*:*:*");
    }
}
