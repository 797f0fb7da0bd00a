//! What libcontainer says about errors inside the new namespaces: its own error names the step only, and the cause of
//! a failure in the container's first process is nowhere but in its trace. It must not write to the container's output.

use std::fmt::{Debug, Write as _};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The trace of one run, in a file that the container's first process appends to as well.
#[derive(Debug)]
pub(crate) struct Trace {
    path: PathBuf,
}

impl Trace {
    /// Begins it beside the file of the outcome. Without a file there is no trace, and nothing else is lost.
    pub(crate) fn begin(result: &Path) -> Self {
        let path = result.with_extension("trace");
        if let Ok(file) = File::options().create(true).write(true).truncate(true).open(&path) {
            let _ = tracing::subscriber::set_global_default(Errors { file });
        }
        Self { path }
    }

    /// Ends it: the first thing that went wrong, if anything did.
    pub(crate) fn end(self) -> Option<String> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let _ = fs::remove_file(&self.path);
        text.lines().next().map(str::to_owned)
    }
}

/// Keeps events of level error.
struct Errors {
    file: File,
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let _ = writeln!(&self.file, "{}{}", line.message, line.fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event on one line.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}").replace('\n', " ");
        if field.name() == "message" {
            self.message = value;
        } else {
            let _ = write!(self.fields, ", {}: {value}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_are_kept_the_first_is_told_and_no_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let trace = Trace::begin(&folder.path().join("create.result"));
        tracing::info!("not this");
        tracing::error!(path = ?"/proc", "cannot mount\nit");
        tracing::error!("another");
        assert_eq!(trace.end().as_deref(), Some("cannot mount it, path: \"/proc\""));
        assert!(!folder.path().join("create.trace").exists());
    }
}
