//! `lepton config`: reads, compares, checks, applies and confirms machine configs.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use lepton_host_api::v1 as api;

use super::Call;
use super::look::taken;
use crate::exit;
use crate::failure::Failure;
use crate::fleet::{Fleet, shown, told};
use crate::output::{Output, object};
use crate::show::effective;
use crate::span;

/// No machine config is longer; a host takes no more.
const LONGEST: u64 = 256 * 1024;
/// The file that is standard input.
const STANDARD_INPUT: &str = "-";

/// The machine config that the command line names.
fn text(call: &Call<'_>) -> Result<String, Failure> {
    let path = Path::new(call.asked.word(0).unwrap_or_default());
    let mut text = String::new();
    let read = match path.to_str() {
        Some(STANDARD_INPUT) => io::stdin().take(LONGEST + 1).read_to_string(&mut text),
        _ => fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)),
    };
    read.map_err(Failure::file("read", path))?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::Usage(format!("{} is longer than {LONGEST} bytes", path.display())));
    }
    Ok(text)
}

/// The machine config in effect, as a file.
pub(crate) async fn get(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let secrets = call.asked.has("secrets");
    let answers = fleet.each(async |host| {
        Ok(host.link.client().get_config(host.request(api::GetConfigRequest { secrets })).await?.into_inner())
    });
    let (good, code) = told(answers.await)?;
    for (host, config) in good {
        if output.json {
            output.object(host, object(&config))?;
            continue;
        }
        let text = match call.asked.has("applied") {
            true => config.applied.unwrap_or_default(),
            false => effective(&config),
        };
        if output.several {
            output.text(&format!("# host {host}"))?;
        }
        output.raw(text.as_bytes())?;
    }
    Ok(code)
}

/// What applying a file would change.
pub(crate) async fn diff(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let text = text(call)?;
    let answers = fleet.each(async |host| {
        let request = host.request(api::DiffConfigRequest { text: text.clone() });
        Ok(host.link.client().diff_config(request).await?.into_inner())
    });
    shown(answers.await, output)
}

/// Whether a file is a machine config.
pub(crate) async fn check(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let text = text(call)?;
    let answers = fleet.each(async |host| {
        let request = host.request(api::CheckConfigRequest { text: text.clone() });
        Ok(host.link.client().check_config(request).await?.into_inner())
    });
    let (good, code) = told(answers.await)?;
    let (wrong, right): (Vec<_>, Vec<_>) =
        good.into_iter().partition(|(_, answer)| !answer.problems.is_empty());
    if !wrong.is_empty() {
        output.answers(&wrong)?;
    }
    if !output.json {
        right.iter().try_for_each(|(host, _)| output.text(&format!("{host} takes it")))?;
    }
    Ok(if wrong.is_empty() { code } else { exit::of_all([code, exit::REFUSED]) })
}

/// Puts a file in the place of what was applied before.
pub(crate) async fn apply(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let text = text(call)?;
    let try_s = match call.span_ms("try")? {
        Some(ms) if ms >= 1000 && ms % 1000 == 0 && ms <= 3_600_000 => Some(ms / 1000),
        Some(_) => return Err(Failure::Usage("--try takes whole seconds from 1s to 1h".to_owned())),
        None => None,
    };
    let answers = fleet.each(async |host| {
        let mut client = host.link.client();
        let expected_revision = match call.asked.value("expect") {
            Some(revision) => revision.to_owned(),
            // Whoever changes the config between this and that is not overwritten.
            None => {
                client
                    .diff_config(host.request(api::DiffConfigRequest { text: text.clone() }))
                    .await?
                    .into_inner()
                    .revision
            }
        };
        let request = api::ApplyConfigRequest { text: text.clone(), expected_revision, try_s };
        Ok(client.apply_config(host.request(request)).await?.into_inner())
    });
    let (good, code) = told(answers.await)?;
    // It is applied, but not all of it is done.
    let failed = good.iter().any(|(_, answer)| !answer.errors.is_empty());
    let code = if failed { exit::of_all([code, exit::REFUSED]) } else { code };
    if output.json {
        good.iter().try_for_each(|(host, answer)| output.object(host, object(answer)))?;
        return Ok(code);
    }
    output.answers(&good)?;
    good.iter().try_for_each(|(host, answer)| output.text(&told_of(host, answer)))?;
    Ok(code)
}

/// What comes next on a host whose config was applied.
fn told_of(host: &str, answer: &api::ApplyConfigResponse) -> String {
    let mut text = match &answer.trial {
        Some(trial) => {
            let left = span::short(trial.remaining_ms);
            format!("{host} goes back in {left} unless: lepton config confirm {}", trial.id)
        }
        None if answer.differences.is_empty() => format!("{host} changes nothing"),
        None if answer.persistent => format!("{host} keeps it"),
        None => format!("{host} keeps it until it starts next: it has no state partition"),
    };
    if answer.differences.iter().any(|difference| difference.effect() == api::ConfigEffect::Reboot) {
        text.push_str("; some of it takes effect when it starts next");
    }
    for error in &answer.errors {
        text.push_str(&format!("\n{host} could not: {error}"));
    }
    text
}

/// Keeps what is on trial.
pub(crate) async fn confirm(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let answers = fleet.each(async |host| {
        let mut client = host.link.client();
        let id = match call.asked.word(0) {
            Some(id) => id.to_owned(),
            None => {
                let request = host.request(api::GetConfigRequest { secrets: false });
                let trial = client.get_config(request).await?.into_inner().trial;
                trial.ok_or_else(|| tonic::Status::not_found("no machine config is on trial"))?.id
            }
        };
        client.confirm_config(host.request(api::ConfirmConfigRequest { id })).await?;
        Ok(())
    });
    taken(answers.await, "keeps it", output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next() {
        let difference =
            |effect: api::ConfigEffect| api::ConfigDifference { effect: effect.into(), ..Default::default() };
        let answer = |effects: &[api::ConfigEffect], trial, persistent| api::ApplyConfigResponse {
            differences: effects.iter().map(|effect| difference(*effect)).collect(),
            trial,
            persistent,
            ..Default::default()
        };
        let trial = Some(api::ConfigTrial { id: "t1".into(), remaining_ms: 60_000 });
        let (live, reboot) = (api::ConfigEffect::Live, api::ConfigEffect::Reboot);
        let half =
            api::ApplyConfigResponse { errors: vec!["time: no".into()], ..answer(&[live], None, true) };
        for (answer, text) in [
            (answer(&[], None, true), "a changes nothing"),
            (answer(&[live], None, true), "a keeps it"),
            (answer(&[live], None, false), "a keeps it until it starts next: it has no state partition"),
            (answer(&[live, reboot], None, true), "a keeps it; some of it takes effect when it starts next"),
            (answer(&[live], trial, true), "a goes back in 1m0s unless: lepton config confirm t1"),
            (half, "a keeps it\na could not: time: no"),
        ] {
            assert_eq!(told_of("a", &answer), text);
        }
    }
}
