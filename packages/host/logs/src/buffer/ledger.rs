//! What was dropped, and of what the stream has not said so yet: a JSON file that is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::segment::Segment;

const NAME: &str = "dropped.json";
/// Sources that are told apart; what others lose is counted for all of them together.
const SOURCES: usize = 1000;
/// The key of those.
const OTHERS: &str = "";

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Ledger {
    /// Lines dropped since the buffer was made.
    pub(super) dropped: u64,
    /// Lines by source that the destination was not told of.
    pub(super) notices: BTreeMap<String, u64>,
    /// Segments that are counted here and may still be there.
    pub(super) removed: BTreeSet<u64>,
}

impl Ledger {
    /// What was written down; nothing when it cannot be read.
    pub(super) fn read(dir: &Path) -> Self {
        let bytes = fs::read(dir.join(NAME)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(super) fn save(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join("dropped.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(new, dir.join(NAME))
    }

    pub(super) fn drop_lines(&mut self, key: &str, lines: u64) {
        if lines == 0 {
            return;
        }
        self.dropped += lines;
        let is_new = !self.notices.contains_key(key);
        let key = if is_new && self.notices.len() >= SOURCES { OTHERS } else { key };
        *self.notices.entry(key.to_owned()).or_default() += lines;
    }

    pub(super) fn drop_segment(&mut self, segment: &Segment) {
        for (key, lines) in &segment.lines {
            self.drop_lines(key, *lines);
        }
        self.removed.insert(segment.number);
    }

    /// The destination was told.
    pub(super) fn told(&mut self, key: &str, lines: u64) {
        if let Some(count) = self.notices.get_mut(key) {
            *count = count.saturating_sub(lines);
            if *count == 0 {
                self.notices.remove(key);
            }
        }
    }
}
