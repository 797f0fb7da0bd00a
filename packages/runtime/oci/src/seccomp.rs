//! The OCI's system call filters as programs of the kernel, compiled by seccompiler.
//!
//! seccompiler knows one action for what fits and one for what does not; the OCI has one per rule. So the first filter
//! gives the default action to what no rule names, and each other action gets a filter of its own, as the kernel takes
//! the most severe answer of all filters. Only the native architecture is let through: a process of another one is
//! killed.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use syscalls::Sysno;

/// A filter cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    #[error("system calls cannot be filtered on {0}")]
    Architecture(&'static str),
    #[error("action {0:?} of a system call filter is not supported")]
    Action(LinuxSeccompAction),
    #[error("flags and listeners of system call filters are not supported")]
    Flags,
    #[error("cannot compile the system call filter")]
    Compile(#[from] seccompiler::BackendError),
}

/// `EPERM`, what an action without a number means.
const EPERM: u32 = 1;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The programs, in the order in which they are installed.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Vec<BpfProgram>, SeccompError> {
    if profile.listener_path().is_some() {
        return Err(SeccompError::Flags);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| SeccompError::Architecture(std::env::consts::ARCH))?;
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut named = Rules::new();
    let mut others: Vec<(SeccompAction, Rules)> = Vec::new();
    for call in profile.syscalls().iter().flatten() {
        let action = action(call.action(), call.errno_ret())?;
        if action == default {
            continue;
        }
        add(&mut named, call)?;
        if action != SeccompAction::Allow {
            let place = others.iter().position(|(other, _)| *other == action).unwrap_or_else(|| {
                others.push((action, Rules::new()));
                others.len() - 1
            });
            add(&mut others[place].1, call)?;
        }
    }
    let mut programs = Vec::new();
    if default != SeccompAction::Allow {
        programs.push(SeccompFilter::new(named, default, SeccompAction::Allow, arch)?.try_into()?);
    }
    for (action, rules) in others {
        programs.push(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?);
    }
    Ok(programs)
}

fn action(action: LinuxSeccompAction, number: Option<u32>) -> Result<SeccompAction, SeccompError> {
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => SeccompAction::Allow,
        LinuxSeccompAction::ScmpActErrno => SeccompAction::Errno(number.unwrap_or(EPERM)),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => SeccompAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => SeccompAction::KillProcess,
        LinuxSeccompAction::ScmpActLog => SeccompAction::Log,
        LinuxSeccompAction::ScmpActTrap => SeccompAction::Trap,
        LinuxSeccompAction::ScmpActTrace => SeccompAction::Trace(number.unwrap_or(EPERM)),
        other => return Err(SeccompError::Action(other)),
    })
}

/// Adds the rules for one entry. A call that this architecture does not have needs none, as with libseccomp.
fn add(rules: &mut Rules, call: &LinuxSyscall) -> Result<(), SeccompError> {
    for name in call.names() {
        let Some(number) = number(name) else { continue };
        let args = call.args().as_deref().unwrap_or_default();
        if args.is_empty() {
            // No conditions: it replaces narrower rules.
            rules.insert(number, Vec::new());
            continue;
        }
        let conditions = args.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        match rules.get_mut(&number) {
            Some(existing) if existing.is_empty() => {}
            Some(existing) => existing.push(SeccompRule::new(conditions)?),
            None => drop(rules.insert(number, vec![SeccompRule::new(conditions)?])),
        }
    }
    Ok(())
}

/// The number of a call by its name in the kernel, as lists of system calls have it.
fn number(name: &str) -> Option<i64> {
    // The crate has one call of arm64 under the name of the C library's function.
    let other = if name == "newfstatat" { "fstatat" } else { name };
    let number = Sysno::from_str(name).or_else(|_| Sysno::from_str(other)).ok()?;
    Some(i64::from(number.id()))
}

fn condition(arg: &LinuxSeccompArg) -> Result<SeccompCondition, SeccompError> {
    let (operator, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => (SeccompCmpOp::Eq, arg.value()),
        LinuxSeccompOperator::ScmpCmpNe => (SeccompCmpOp::Ne, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (SeccompCmpOp::Ge, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (SeccompCmpOp::Gt, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (SeccompCmpOp::Le, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (SeccompCmpOp::Lt, arg.value()),
        // The first value is the mask, the second what is left under it.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (SeccompCmpOp::MaskedEq(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    let index = u8::try_from(arg.index()).unwrap_or(u8::MAX);
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn one_filter_per_action() {
        let programs = compile(&profile(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
                {"names":["read","write","no_such_call"],"action":"SCMP_ACT_ALLOW"},
                {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
                {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
                {"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#,
        ))
        .unwrap();
        assert_eq!(programs.len(), 2);
    }

    /// What every program needs that opens a file, by the kernel's names: each must have a number on each architecture.
    #[test]
    fn names_are_those_of_the_kernel() {
        for name in ["newfstatat", "openat", "mkdirat", "fstat", "statx", "getdents64", "utimensat", "writev"]
        {
            assert!(number(name).is_some(), "{name}");
        }
        assert_eq!(number("no_such_call"), None);
    }

    #[test]
    fn denying_lists() {
        let programs = compile(&profile(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod","fchmodat"],"action":"SCMP_ACT_ERRNO"}]}"#,
        ))
        .unwrap();
        assert_eq!(programs.len(), 1);
        let none = compile(&profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let json = r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#;
        assert!(matches!(compile(&profile(json)), Err(SeccompError::Action(_))));
    }
}
