//! The two sides of a judge: it accepts what we made, and refuses a copy with a planted defect.
//!
//! Only a refusal counts: a tool that could not be started has found nothing.

use std::io;
use std::path::Path;

use lepton_builder::scratch::Scratch;

use super::Verdict;
use super::plant::Copy;
use crate::context::TestError;

/// A mistake to make in a copy of an artifact.
pub(super) struct Defect<'a> {
    what: &'static str,
    plant: &'a dyn Fn(&Copy) -> io::Result<()>,
}

impl<'a> Defect<'a> {
    /// `what` ends the sentence "does not notice".
    pub(super) fn new(what: &'static str, plant: &'a dyn Fn(&Copy) -> io::Result<()>) -> Self {
        Self { what, plant }
    }
}

/// Fails unless `judge` accepts `artifact` and refuses copies of it with each of `defects`.
pub(super) fn hold(artifact: &Path, judge: &dyn Fn(&Path) -> Verdict, defects: &[Defect<'_>]) -> Verdict {
    judge(artifact)?;
    for defect in defects {
        let dir = scratch()?;
        let name = artifact.file_name().unwrap_or(artifact.as_os_str());
        let path = dir.path().join(name);
        let copy = Copy::make(artifact, &path).map_err(TestError::file("copy", artifact))?;
        (defect.plant)(&copy).map_err(TestError::file("change", &path))?;
        match judge(&path) {
            Err(TestError::Refused { .. }) => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(TestError::Blind { file: artifact.to_owned(), defect: defect.what }),
        }
    }
    Ok(())
}

/// A folder for copies and for what is taken out of artifacts.
pub(super) fn scratch() -> Result<Scratch, TestError> {
    let parent = std::env::temp_dir();
    Scratch::new_in(&parent, "lepton-judge-").map_err(TestError::file("make a folder in", parent))
}

#[cfg(test)]
mod tests {
    use super::super::{refuse, require};
    use super::*;

    fn artifact() -> (Scratch, std::path::PathBuf) {
        let dir = scratch().unwrap();
        let path = dir.path().join("artifact");
        std::fs::write(&path, b"good").unwrap();
        (dir, path)
    }

    fn is_good(path: &Path) -> Verdict {
        require("reader", std::fs::read(path).unwrap() == b"good", || "not good".to_owned())
    }

    #[test]
    fn a_planted_defect_must_be_refused() {
        let (_dir, path) = artifact();
        let flip = |copy: &Copy| copy.flip(1);
        hold(&path, &is_good, &[Defect::new("a changed byte", &flip)]).unwrap();
        let nothing = |_: &Copy| Ok(());
        let error = hold(&path, &is_good, &[Defect::new("nothing", &nothing)]).unwrap_err();
        assert!(matches!(error, TestError::Blind { defect: "nothing", .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"good");
    }

    #[test]
    fn an_artifact_must_be_accepted_and_a_broken_judge_is_no_refusal() {
        let (_dir, path) = artifact();
        let never = |_: &Path| Err(refuse("reader", "never"));
        assert!(matches!(hold(&path, &never, &[]), Err(TestError::Refused { .. })));
        let breaks = |copy: &Path| {
            if copy == path { Ok(()) } else { Err(TestError::NotHere("no tools".to_owned())) }
        };
        let flip = |copy: &Copy| copy.flip(1);
        let error = hold(&path, &breaks, &[Defect::new("a changed byte", &flip)]).unwrap_err();
        assert!(matches!(error, TestError::NotHere(_)), "{error}");
    }
}
