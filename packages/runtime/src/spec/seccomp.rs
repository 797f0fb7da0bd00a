//! System call filters of containers, as the OCI runtime specification writes them: none, the default one, or a file.

use std::path::Path;

use lepton_cri::v1::SecurityProfile;
use lepton_cri::v1::security_profile::ProfileType;
use serde_json::{Value, json};

use super::default_calls::{ARM, EVERYBODY, WITH_CAPABILITY, X86};
use crate::error::{Context as _, Failure, Result};

/// Namespaces that `clone` must not make: `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// `ENOSYS`: with it, C libraries fall back from `clone3` to `clone`, whose flags a filter can see.
const ENOSYS: u32 = 38;
/// `AF_ALG` and `AF_VSOCK`.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// Longest profile, in bytes.
const LONGEST: u64 = 4 << 20;

/// The filter of a container; `Null` for none.
pub(super) fn profile(
    wanted: Option<&SecurityProfile>,
    privileged: bool,
    bounding: &[String],
) -> Result<Value> {
    let Some(wanted) = wanted.filter(|_| !privileged) else { return Ok(Value::Null) };
    match wanted.profile_type() {
        ProfileType::RuntimeDefault => Ok(default(bounding, std::env::consts::ARCH)),
        ProfileType::Unconfined => Ok(Value::Null),
        ProfileType::Localhost => local(Path::new(&wanted.localhost_ref)),
    }
}

fn local(path: &Path) -> Result<Value> {
    if !path.is_absolute() {
        return Err(Failure::invalid(format!(
            "seccomp profile {}: the path is not absolute",
            path.display()
        )));
    }
    let what = format!("read seccomp profile {}", path.display());
    if std::fs::metadata(path).or_cannot(&what)?.len() > LONGEST {
        return Err(Failure::invalid(format!(
            "seccomp profile {}: longer than {LONGEST} bytes",
            path.display()
        )));
    }
    let text = std::fs::read(path).or_cannot(&what)?;
    let wrong =
        |error: serde_json::Error| Failure::invalid(format!("seccomp profile {}: {error}", path.display()));
    // Read as what it must be, so that a mistake is said when the container is made.
    let profile: oci_spec::runtime::LinuxSeccomp = serde_json::from_slice(&text).map_err(wrong)?;
    serde_json::to_value(profile).map_err(wrong)
}

/// The default filter, for a container with these capabilities.
fn default(bounding: &[String], arch: &str) -> Value {
    let has = |capability: &str| bounding.iter().any(|own| own == capability);
    let allow = |names: &str, args: Value| {
        let names: Vec<&str> = names.split_whitespace().collect();
        json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args})
    };
    let arg = |value: u64, op: &str| json!([{"index": 0, "value": value, "op": op}]);
    let mut calls = vec![
        allow(EVERYBODY, json!([])),
        // Every family but AF_ALG and AF_VSOCK.
        allow("socket", arg(AF_ALG, "SCMP_CMP_LT")),
        allow("socket", arg(AF_ALG + 1, "SCMP_CMP_EQ")),
        allow("socket", arg(AF_VSOCK, "SCMP_CMP_GT")),
        allow("process_vm_readv process_vm_writev ptrace", json!([])),
        allow(if arch == "aarch64" { ARM } else { X86 }, json!([])),
    ];
    // Linux, Linux with 32 bits, both with the old memory layout, and the question which one it is.
    for personality in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        calls.push(allow("personality", arg(personality, "SCMP_CMP_EQ")));
    }
    for (capability, names) in WITH_CAPABILITY {
        if has(capability) {
            calls.push(allow(names, json!([])));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        let masked =
            json!([{"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]);
        calls.push(allow("clone", masked));
        calls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_depends_on_capabilities() {
        let names = |profile: &Value| profile["syscalls"].to_string();
        let plain = default(&["CAP_CHOWN".to_owned()], "x86_64");
        assert!(!names(&plain).contains("\"mount\""));
        assert!(names(&plain).contains("\"clone3\""));
        assert!(names(&plain).contains("arch_prctl"));
        let admin = default(&["CAP_SYS_ADMIN".to_owned()], "aarch64");
        assert!(names(&admin).contains("\"mount\""));
        assert!(!names(&admin).contains("errnoRet"));
        assert!(!names(&admin).contains("arch_prctl"));
        let _: oci_spec::runtime::LinuxSeccomp = serde_json::from_value(plain).unwrap();
    }
}
