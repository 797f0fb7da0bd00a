//! `lepton top`: figures of all hosts in one table, again and again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};

use lepton_host_api::v1 as api;

use super::Call;
use crate::failure::Failure;
use crate::fleet::{Fleet, told};
use crate::output::{Output, object};
use crate::show::Tops;

/// Clears a terminal: to its first line, and away with what is below (ECMA-48).
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// Shows figures until interrupted, or so many times.
pub(crate) async fn top(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let interval_ms = call.span_ms("interval")?.unwrap_or(0);
    let count = call.number("count")?.unwrap_or(0);
    let clears = count == 0 && io::stdout().is_terminal();
    let names = fleet.names();
    let round = RefCell::new(Round::new(&names));
    let answers = fleet.each(async |host| {
        let request = api::TopRequest { interval_ms, count };
        let watched = async {
            let mut stream = host.link.client().top(request).await?.into_inner();
            while let Some(answer) = stream.message().await? {
                if output.json {
                    output.object(host.name, object(&answer))?;
                    continue;
                }
                let complete = round.borrow_mut().add(host.name, answer);
                show(complete, clears, output)?;
            }
            Ok(())
        };
        let watched: Result<(), Failure> = watched.await;
        let complete = round.borrow_mut().end(host.name);
        show(complete, clears, output)?;
        watched
    });
    Ok(told(answers.await)?.1)
}

fn show(complete: Option<Vec<(&str, Tops)>>, clears: bool, output: &Output<'_>) -> Result<(), Failure> {
    let Some(answers) = complete else { return Ok(()) };
    if clears {
        output.raw(CLEAR)?;
    }
    output.answers(&answers)
}

/// Answers of one moment, until every host has given one.
struct Round<'a> {
    /// In the order that they were named.
    names: Vec<&'a str>,
    /// Hosts that give no more.
    ended: BTreeSet<&'a str>,
    fresh: BTreeMap<&'a str, api::TopResponse>,
}

impl<'a> Round<'a> {
    fn new(names: &[&'a str]) -> Self {
        Self { names: names.to_vec(), ended: BTreeSet::new(), fresh: BTreeMap::new() }
    }

    /// Takes an answer; gives all when they are complete.
    fn add(&mut self, host: &str, answer: api::TopResponse) -> Option<Vec<(&'a str, Tops)>> {
        let name = self.names.iter().find(|name| **name == host)?;
        self.fresh.insert(name, answer);
        self.take()
    }

    /// A host gives no more, so nobody waits for it.
    fn end(&mut self, host: &str) -> Option<Vec<(&'a str, Tops)>> {
        let name = self.names.iter().find(|name| **name == host)?;
        self.ended.insert(name);
        self.take()
    }

    fn take(&mut self) -> Option<Vec<(&'a str, Tops)>> {
        let is_there = |name: &&'a str| self.fresh.contains_key(name) || self.ended.contains(name);
        if self.fresh.is_empty() || !self.names.iter().all(is_there) {
            return None;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        Some(self.names.iter().filter_map(|name| Some((*name, Tops(fresh.remove(name)?)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_complete_when_every_host_has_spoken() {
        let mut round = Round::new(&["b", "a"]);
        let names = |complete: Option<Vec<(&'static str, Tops)>>| {
            complete.map(|all| all.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        };
        assert_eq!(names(round.add("a", api::TopResponse::default())), None);
        assert_eq!(names(round.add("a", api::TopResponse::default())), None);
        assert_eq!(names(round.add("b", api::TopResponse::default())), Some(vec!["b", "a"]));
        // What a host said last is shown, and one that has ended keeps nobody waiting.
        assert_eq!(names(round.add("a", api::TopResponse::default())), None);
        assert_eq!(names(round.end("a")), None);
        assert_eq!(names(round.add("b", api::TopResponse::default())), Some(vec!["b", "a"]));
        assert_eq!(names(round.add("b", api::TopResponse::default())), Some(vec!["b"]));
        assert_eq!(names(round.end("b")), None);
    }
}
