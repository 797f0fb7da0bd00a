//! Reads all sources and fills the buffers, on a thread of its own: it may wait for a disk, and whoever writes a log never waits
//! for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::clock;
use crate::frame::Batch;
use crate::say::say;
use crate::source::log::Log;
use crate::source::ring::Ring;
use crate::source::rings::Heard;
use crate::source::tail::{Bench, Sink, Tail, Turn};
use crate::source::watch::Wake;
use crate::source::{Kind, Source};

/// Between two looks at sources where nothing seems to happen.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks when lines come one by one: each look is at all logs.
const PAUSE: Duration = Duration::from_millis(50);
/// Pieces of one log that are read before others have their turn.
const PIECES: u32 = 4;
/// Lines of PID 1 that are taken at once.
const HEARD: usize = 1024;
/// How what `lepton-ctr` says itself begins. The rest of a container's service is the container's own log, which is read already.
const OWN_WORDS: &str = "lepton-ctr: ";

/// A destination, as sources see it.
#[derive(Clone, Debug)]
pub struct Taker {
    /// What waits for it.
    pub buffer: Arc<Buffer>,
    /// What it takes.
    pub kinds: Vec<Kind>,
}

/// Lines of one source since this program's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Lines that were read and passed on.
    pub lines: u64,
    /// Lines that were left out, because too many came at once.
    pub left_out: u64,
}

/// What was read, by key.
#[derive(Debug, Default)]
pub struct ReadFigures(Mutex<BTreeMap<String, Read>>);

impl ReadFigures {
    /// All of them.
    pub fn all(&self) -> BTreeMap<String, Read> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Fill<'a> {
    takers: &'a [Taker],
    figures: &'a ReadFigures,
    /// The disk refuses; it is said once.
    refused: &'a mut bool,
}

impl Sink for Fill<'_> {
    fn take(&mut self, batch: &Batch<'_>, destinations: &[usize]) {
        {
            let mut figures = self.figures.lock();
            if !figures.contains_key(batch.key) {
                figures.insert(batch.key.to_owned(), Read::default());
            }
            if let Some(read) = figures.get_mut(batch.key) {
                read.lines += u64::from(batch.lines);
                read.left_out += u64::from(batch.left_out);
            }
        }
        let frame = batch.encode();
        for taker in destinations.iter().filter_map(|at| self.takers.get(*at)) {
            match taker.buffer.append(batch, &frame) {
                Ok(()) => *self.refused = false,
                Err(error) => {
                    if !std::mem::replace(self.refused, true) {
                        say(format_args!(
                            "the buffer's disk does not take lines, which are dropped: {error}"
                        ));
                    }
                }
            }
        }
    }
}

/// What reads.
#[derive(Debug)]
pub struct Intake {
    takers: Vec<Taker>,
    /// Containers of the machine config: their services' logs are theirs.
    containers: Vec<String>,
    logs: Receiver<Arc<Log>>,
    heard: Option<Receiver<Heard>>,
    wake: Arc<Wake>,
    figures: Arc<ReadFigures>,
    bench: Bench,
    tails: BTreeMap<String, Tail>,
    rings: BTreeMap<Source, Ring>,
    /// Logs of a source whose log before is not read to its end.
    waiting: Vec<Arc<Log>>,
    refused: bool,
    unreadable: BTreeSet<String>,
    is_first: bool,
}

impl Intake {
    /// Reads what `logs` and `heard` bring, for these destinations.
    pub fn new(
        takers: Vec<Taker>,
        containers: Vec<String>,
        (logs, heard): (Receiver<Arc<Log>>, Option<Receiver<Heard>>),
        wake: Arc<Wake>,
        figures: Arc<ReadFigures>,
        bench: Bench,
    ) -> Self {
        Self {
            takers,
            containers,
            logs,
            heard,
            wake,
            figures,
            bench,
            tails: BTreeMap::new(),
            rings: BTreeMap::new(),
            waiting: Vec::new(),
            refused: false,
            unreadable: BTreeSet::new(),
            is_first: true,
        }
    }

    /// Reads until it is told to stop, and then what there is.
    pub fn run(mut self, stop: &AtomicBool) {
        loop {
            let is_last = stop.load(Ordering::Relaxed);
            let has_more = self.pass();
            if is_last {
                return;
            }
            if !has_more {
                std::thread::sleep(PAUSE);
                self.wake.wait(LOOK);
            }
        }
    }

    /// One look at everything; whether there may be more at once.
    pub fn pass(&mut self) -> bool {
        self.waiting.extend(self.logs.try_iter());
        for log in std::mem::take(&mut self.waiting) {
            self.add(log);
        }
        if std::mem::take(&mut self.is_first) {
            self.forget_removed();
        }
        let has_heard = self.hear();
        let mut fill = Fill { takers: &self.takers, figures: &self.figures, refused: &mut self.refused };
        let (mut has_more, mut over) = (has_heard, Vec::new());
        for (key, tail) in &mut self.tails {
            let mut turn = Turn::More;
            for _ in 0..PIECES {
                turn = match tail.turn(&mut self.bench, &mut fill, Instant::now()) {
                    Ok(turn) => turn,
                    Err(error) => {
                        // It is tried again, and said once.
                        if self.unreadable.insert(key.clone()) {
                            say(format_args!("cannot read {key}: {error}"));
                        }
                        Turn::Idle
                    }
                };
                if turn != Turn::More {
                    break;
                }
            }
            match turn {
                Turn::More => has_more = true,
                Turn::Idle => {}
                Turn::Over => over.push(key.clone()),
            }
        }
        for key in over {
            self.tails.remove(&key);
            self.figures.lock().remove(&key);
            for taker in &self.takers {
                taker.buffer.forget(&key);
            }
        }
        has_more
    }

    /// Containers that were removed while nobody looked: their places are of no use.
    fn forget_removed(&self) {
        for taker in &self.takers {
            for key in taker.buffer.keys() {
                let is_container = Source::from_key(&key).is_none_or(|it| it.kind() == Kind::Containers);
                if is_container && !self.tails.contains_key(&key) {
                    taker.buffer.forget(&key);
                }
            }
        }
    }

    fn add(&mut self, log: Arc<Log>) {
        let source = &log.found.source;
        let key = source.key();
        if self.tails.contains_key(&key) {
            self.waiting.push(log);
            return;
        }
        let positions = self.positions(source);
        if positions.is_empty() {
            return;
        }
        let only = self.is_container(source).then_some(OWN_WORDS.as_bytes());
        let tail = Tail::new(log, &positions, only, &self.bench, Instant::now());
        self.tails.insert(key, tail);
    }

    /// Destinations that want a source, and how far they have it.
    fn positions(&self, source: &Source) -> Vec<(usize, Option<crate::frame::Position>)> {
        let (kind, key) = (source.kind(), source.key());
        let wants = self.takers.iter().enumerate().filter(|(_, taker)| taker.kinds.contains(&kind));
        wants.map(|(at, taker)| (at, taker.buffer.position(&key))).collect()
    }

    fn is_container(&self, source: &Source) -> bool {
        matches!(source, Source::Service { name } if self.containers.contains(name))
    }

    /// Takes what PID 1 said; whether there may be more.
    fn hear(&mut self) -> bool {
        let Some(heard) = &self.heard else { return false };
        let heard: Vec<Heard> = heard.try_iter().take(HEARD).collect();
        let is_full = heard.len() == HEARD;
        let boot_ns = clock::boot_ns();
        for (source, line) in heard {
            if !self.rings.contains_key(&source) {
                let only = self.is_container(&source).then_some(OWN_WORDS);
                let positions = self.positions(&source);
                let ring = Ring::new(source.key(), &self.bench, &positions, only, Instant::now());
                self.rings.insert(source.clone(), ring);
            }
            let mut fill = Fill { takers: &self.takers, figures: &self.figures, refused: &mut self.refused };
            if let Some(ring) = self.rings.get_mut(&source) {
                ring.take(&line, boot_ns, Instant::now(), &mut fill);
            }
        }
        is_full
    }
}
