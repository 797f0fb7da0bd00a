//! Who may have how many connections: nobody so many that others find no place.
//!
//! An owner may have as many as are free. One alone gets half of all, two get a third each, and so on: there always is one
//! for somebody new.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Calls of one owner that are looked at at the same time; others of it wait for these.
const CALLS: usize = 8;

/// Whose connections are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A user of the host.
    User(u32),
    /// A service of PID 1, or a pod: the cgroup.
    Cgroup(String),
}

/// All places.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: BTreeMap<Owner, (usize, Arc<Semaphore>)>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    owner: Owner,
    /// Turns for calls of the owner.
    pub(crate) calls: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, taken: Mutex::default() })
    }

    /// A place for one more connection, if the owner may have it.
    pub(crate) fn take(self: &Arc<Self>, owner: Owner) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.total.saturating_sub(taken.all);
        let count = taken.by.get(&owner).map_or(0, |(count, _)| *count);
        if count >= free {
            return None;
        }
        taken.all += 1;
        let entry = taken.by.entry(owner.clone()).or_insert_with(|| (0, Arc::new(Semaphore::new(CALLS))));
        entry.0 += 1;
        let calls = Arc::clone(&entry.1);
        Some(Slot { slots: Arc::clone(self), owner, calls })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some((count, _)) = taken.by.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                taken.by.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_one_for_somebody_new() {
        let slots = Slots::new(64);
        let greedy =
            |owner: &Owner| -> Vec<Slot> { std::iter::from_fn(|| slots.take(owner.clone())).collect() };
        let first = greedy(&Owner::User(1));
        assert_eq!(first.len(), 32);
        let second = greedy(&Owner::Cgroup("/kubepods/poda".to_owned()));
        assert_eq!(second.len(), 16);
        let third = greedy(&Owner::User(2));
        assert_eq!(third.len(), 8);
        drop(first);
        assert!(slots.take(Owner::User(2)).is_some());
        drop((second, third));
        let taken = slots.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }
}
