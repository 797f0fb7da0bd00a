//! Does what was asked: one function for each verb, and this one that chooses.

mod bundle;
mod config;
mod context;
mod exec;
mod keys;
mod logs;
mod look;
mod top;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use lepton_host_api::SOCKET;

use crate::contexts::{Contexts, ContextsError};
use crate::exit;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::Output;
use crate::target::{Targets, is_here};
use crate::verbs::Action;
use crate::words::Asked;
use crate::{clock, completions, help, span};

/// A verb with its words, and where the user's files are.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) place: Option<&'a Path>,
}

impl Call<'_> {
    /// The user's contexts.
    pub(crate) fn contexts(&self) -> Result<Contexts, Failure> {
        Ok(self.place.map(Contexts::read).transpose()?.unwrap_or_default())
    }

    /// The file of contexts, for one who writes it.
    pub(crate) fn contexts_file(&self) -> Result<&Path, Failure> {
        Ok(self.place.ok_or(ContextsError::NoPlace)?)
    }

    /// The hosts that are meant.
    pub(crate) fn fleet(&self) -> Result<Fleet, Failure> {
        let targets = Targets::choose(&self.asked.global, &self.contexts()?)?;
        Ok(Fleet::new(targets, self.asked.global.timeout))
    }

    /// A number of an option.
    pub(crate) fn number(&self, long: &str) -> Result<Option<u32>, Failure> {
        self.asked.parsed(long, |text| text.parse().ok(), "a number").map_err(usage)
    }

    /// A span of time of an option, in milliseconds.
    pub(crate) fn span_ms(&self, long: &str) -> Result<Option<u32>, Failure> {
        let parse = |text: &str| span::parse(text).and_then(|span| u32::try_from(span.as_millis()).ok());
        self.asked.parsed(long, parse, "a time such as 60s").map_err(usage)
    }
}

/// A command line that is wrong in another way than its form.
pub(crate) fn usage(error: lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}

/// The exit code of what has no other.
pub(crate) fn done(result: Result<(), Failure>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS)
}

/// Does it; gives the exit code.
pub(crate) async fn run(call: &Call<'_>, sink: &mut dyn Write) -> Result<u8, Failure> {
    let action = call.asked.verb.action;
    let code = match action {
        Action::Completions => completions::print(call.asked.word(0).unwrap_or_default(), sink),
        Action::Help => help::ask(&call.asked.words, sink),
        Action::KeysNew => keys::new(call, sink),
        Action::KeysIssue => keys::issue(call, sink),
        Action::KeysHost => keys::host(call, sink),
        Action::KeysShow => keys::show(call, sink),
        Action::ContextAdd => context::add(call, sink),
        Action::ContextList => context::list(call, sink),
        Action::ContextUse => context::choose(call),
        Action::ContextRemove => context::remove(call),
        _ => return ask(call, action, sink).await,
    };
    code.map(|()| exit::DONE)
}

/// What hosts are asked.
async fn ask(call: &Call<'_>, action: Action, sink: &mut dyn Write) -> Result<u8, Failure> {
    if action == Action::OnHost {
        let name = call.asked.verb.name;
        return Err(Failure::Usage(format!(
            "{name} is for the host that it runs on, and this is none, or another is meant"
        )));
    }
    if action == Action::Reset && !call.asked.has("yes") {
        return Err(Failure::Usage("reset loses all that hosts have stored; say --yes".to_owned()));
    }
    let is_here = is_here(&call.asked.global, &call.contexts()?);
    if action == Action::Version && is_here && !Path::new(SOCKET).exists() {
        // What runs here is known without a host.
        return look::own_version(call.asked.global.json, sink);
    }
    let fleet = call.fleet()?;
    let names = fleet.names();
    let output = Output::new(sink, call.asked.global.json, &names);
    let done = match action {
        Action::Logs => logs::logs(call, &fleet, &output).await,
        Action::Dmesg => logs::dmesg(call, &fleet, &output).await,
        Action::Events => logs::events(call, &fleet, &output).await,
        Action::Top => top::top(call, &fleet, &output).await,
        Action::ConfigGet => config::get(call, &fleet, &output).await,
        Action::ConfigDiff => config::diff(call, &fleet, &output).await,
        Action::ConfigCheck => config::check(call, &fleet, &output).await,
        Action::ConfigApply => config::apply(call, &fleet, &output).await,
        Action::ConfigConfirm => config::confirm(call, &fleet, &output).await,
        Action::Exec => exec::exec(call, &fleet).await,
        Action::SupportBundle => bundle::support_bundle(call, &fleet, &output).await,
        _ => look::look(call, action, &fleet, &output).await,
    };
    hinted(done, &fleet)
}

/// Says that the caller's own certificate is over, which a host need not say.
fn hinted(done: Result<u8, Failure>, fleet: &Fleet) -> Result<u8, Failure> {
    let code = match &done {
        Ok(code) => *code,
        Err(failure) => failure.exit_code(),
    };
    let until = fleet.own_until().filter(|until| code == exit::DENIED && *until < clock::now_s());
    if let Some(until) = until {
        eprintln!(
            "lepton: your certificate is over since {}: lepton keys issue",
            span::rfc3339(until * 1000)
        );
    }
    done
}
