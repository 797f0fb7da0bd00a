//! The last steps inside a container: its system call filter, its capabilities, its program.

use std::ffi::{CString, NulError};
use std::io::Write as _;
use std::path::Path;

use caps::{CapSet, CapsHashSet};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use oci_spec::runtime::{Capabilities, Process, Spec};
use seccompiler::BpfProgram;

use crate::bundle;
use crate::seccomp::{self, SeccompError};
use crate::sys;

/// What becomes of the process that libcontainer has put into place.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    process: Process,
    filters: Vec<BpfProgram>,
}

impl Program {
    pub(crate) fn new(spec: &Spec, process: Process) -> Result<Self, SeccompError> {
        let filter = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let filters = filter.map(seccomp::compile).transpose()?.unwrap_or_default();
        Ok(Self { process, filters })
    }

    /// The program's path: looked up in the container's own `PATH`.
    fn path(&self) -> Result<CString, String> {
        let name =
            self.process.args().as_ref().and_then(|args| args.first()).ok_or("it has no program to run")?;
        if name.contains('/') {
            return CString::new(name.as_str())
                .map_err(|_| format!("program {name:?} has a NUL in its name"));
        }
        let mut found = Err(format!("exec: {name:?}: executable file not found in $PATH"));
        for folder in self.search_path().split(':').filter(|folder| !folder.is_empty()) {
            let path = Path::new(folder).join(name);
            let Ok(path) = CString::new(path.as_os_str().as_encoded_bytes()) else { continue };
            match sys::executable(&path) {
                Ok(true) => return Ok(path),
                Ok(false) => found = Err(format!("exec: {path:?}: permission denied")),
                Err(_) => {}
            }
        }
        found
    }

    fn search_path(&self) -> &str {
        let env = self.process.env().as_deref().unwrap_or_default();
        env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
    }

    /// The environment in its order, the last of each name; with the home folder that libcontainer found.
    fn environment(&self) -> Result<Vec<CString>, NulError> {
        let env = self.process.env().as_deref().unwrap_or_default();
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let mut entries: Vec<String> = Vec::new();
        for (place, entry) in env.iter().enumerate() {
            if !env[place + 1..].iter().any(|later| name(later) == name(entry)) {
                entries.push(entry.clone());
            }
        }
        if !entries.iter().any(|entry| name(entry) == "HOME") {
            #[expect(clippy::disallowed_methods, reason = "libcontainer puts it there for the program")]
            let home = std::env::var("HOME");
            entries.extend(home.ok().map(|home| format!("HOME={home}")));
        }
        entries.into_iter().map(CString::new).collect()
    }

    /// Installs the filters, and drops what was kept for that.
    fn restrict(&self) -> Result<(), String> {
        for filter in &self.filters {
            sys::install_filter(filter)
                .map_err(|error| format!("cannot install the system call filter: {error}"))?;
        }
        if self.filters.is_empty() || !bundle::needs_capability(&self.process) {
            return Ok(());
        }
        let none = Capabilities::default();
        let wanted = self.process.capabilities().as_ref();
        let set = |sets: Option<&Capabilities>| -> CapsHashSet {
            sets.unwrap_or(&none).iter().map(CapabilityExt::to_cap).collect()
        };
        let failed = |error: caps::errors::CapsError| format!("cannot drop capabilities: {error}");
        let bounding = set(wanted.and_then(|sets| sets.bounding().as_ref()));
        // The bounding set has no other way (capabilities(7)).
        for capability in caps::read(None, CapSet::Bounding).map_err(failed)?.difference(&bounding) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
        }
        let effective = set(wanted.and_then(|sets| sets.effective().as_ref()));
        caps::set(None, CapSet::Effective, &effective).map_err(failed)?;
        let permitted = set(wanted.and_then(|sets| sets.permitted().as_ref()));
        caps::set(None, CapSet::Permitted, &permitted).map_err(failed)?;
        Ok(())
    }
}

/// What execvp(3) searches without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Program {
    fn become_it(&self) -> Result<(), ExecutorError> {
        let path = self.path().map_err(ExecutorError::Other)?;
        let nul = |_: NulError| ExecutorError::InvalidArg;
        let args = self.process.args().as_deref().unwrap_or_default();
        let args: Vec<CString> =
            args.iter().map(|arg| CString::new(arg.as_str())).collect::<Result<_, _>>().map_err(nul)?;
        let env = self.environment().map_err(nul)?;
        // Before the filter, which may refuse it.
        sys::default_signals();
        self.restrict().map_err(ExecutorError::Other)?;
        let Err(error) = nix::unistd::execve(&path, &args, &env);
        Err(ExecutorError::Other(format!("exec {}: {}", path.to_string_lossy(), error.desc())))
    }
}

impl Executor for Program {
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        // It was started already: nobody but the container's own log can be told.
        self.become_it().inspect_err(|error| drop(writeln!(std::io::stderr(), "{error}")))
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refused = ExecutorValidationError::ArgValidationError;
        let path = self.path().map_err(refused)?;
        match sys::executable(&path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(refused(format!("exec: {path:?}: permission denied"))),
            Err(error) => Err(refused(format!("exec: {path:?}: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::ProcessBuilder;

    use super::*;

    fn program(args: &[&str], env: &[&str]) -> Program {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let process = ProcessBuilder::default().args(words(args)).env(words(env)).cwd("/").build().unwrap();
        Program { process, filters: Vec::new() }
    }

    #[test]
    fn the_environment_keeps_its_order_and_the_last_of_a_name() {
        let program = program(&["a"], &["B=1", "HOME=/h", "A=1", "B=2"]);
        let env = program.environment().unwrap();
        let env: Vec<_> = env.iter().map(|entry| entry.to_str().unwrap()).collect();
        assert_eq!(env, ["HOME=/h", "A=1", "B=2"]);
    }

    #[test]
    fn programs_are_found_in_the_path_of_the_container() {
        let found = program(&["sh"], &["PATH=/nowhere:/bin"]).path().unwrap();
        assert_eq!(found.to_str().unwrap(), "/bin/sh");
        let error = program(&["no-such-program"], &["PATH=/bin"]).path().unwrap_err();
        assert!(error.contains("not found in $PATH"), "{error}");
        assert!(program(&["passwd"], &["PATH=/etc"]).path().is_err());
    }
}
