//! Logs and events: lines of all hosts as they come.

use lepton_host_api::v1 as api;
use lepton_host_api::v1::logs_request::Source;
use tonic::Streaming;

use super::{Call, usage};
use crate::clock;
use crate::failure::Failure;
use crate::fleet::{Answers, Fleet, Host, told};
use crate::output::{Output, object};
use crate::show::{change_line, lost_line};
use crate::span;

/// Which lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Which {
    follow: bool,
    tail: Option<u32>,
    since_unix_ms: Option<i64>,
}

impl Which {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let now = clock::now_ms();
        let form = "a span such as 10m, or a time such as 2026-11-30T08:00:00Z";
        let since_unix_ms = call.asked.parsed("since", |text| span::since(text, now), form).map_err(usage)?;
        Ok(Self { follow: call.asked.has("follow"), tail: call.number("tail")?, since_unix_ms })
    }
}

/// How far the log of a host was printed, so that another connection goes on behind it.
#[derive(Debug, Default)]
struct Printed {
    /// The last line, where lines have numbers.
    place: Option<api::LogPlace>,
    /// Its time, and how many lines of that time there were: lines of containers have no numbers.
    time_unix_ms: Option<i64>,
    of_that_time: usize,
}

impl Printed {
    fn line(&mut self, boot_id: &str, number: Option<u64>, time_unix_ms: i64) {
        self.place = number.map(|number| api::LogPlace { boot_id: boot_id.to_owned(), number });
        let is_same = self.time_unix_ms.replace(time_unix_ms) == Some(time_unix_ms);
        self.of_that_time = if is_same { self.of_that_time + 1 } else { 1 };
    }

    /// What of a log is still to be printed, and how many lines at its beginning are not.
    fn rest(&self, of: Which, is_numbered: bool) -> (Which, usize) {
        match self.time_unix_ms {
            None => (of, 0),
            Some(_) if is_numbered => (Which { tail: None, ..of }, 0),
            Some(time) => (Which { tail: None, since_unix_ms: Some(time), ..of }, self.of_that_time),
        }
    }
}

/// The log of a service, a pod or a container; of the kernel when none is named.
pub(crate) async fn logs(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let Some(name) = call.asked.word(0) else {
        if call.asked.has("container") {
            return Err(Failure::Usage("-c names a container of a pod: name the pod, too".to_owned()));
        }
        return dmesg(call, fleet, output).await;
    };
    let which = Which::of(call)?;
    let sources = sources(name, call.asked.value("container"));
    let print = async |host: &Host<'_>, printed: &mut Printed| {
        let (mut stream, mut skip) = open(host, &sources, which, printed).await?;
        while let Some(answer) = stream.message().await? {
            for line in answer.lines {
                // The same time again is the same line again.
                if skip > 0 && Some(line.time_unix_ms) == printed.time_unix_ms {
                    skip -= 1;
                    continue;
                }
                skip = 0;
                printed.line(&answer.boot_id, line.number, line.time_unix_ms);
                match output.json {
                    true => output.object(host.name, object(&line))?,
                    false => output
                        .line(host.name, &format!("{} {}", span::rfc3339(line.time_unix_ms), line.text))?,
                }
            }
        }
        Ok(())
    };
    Ok(told(asked(fleet, which, print).await)?.1)
}

/// What hosts answer: once, or for as long as they are followed.
async fn asked<'f>(
    fleet: &'f Fleet,
    which: Which,
    print: impl AsyncFn(&Host<'_>, &mut Printed) -> Result<(), Failure>,
) -> Answers<'f, ()> {
    match which.follow {
        true => fleet.follow(print).await,
        false => fleet.each(async |host| print(host, &mut Printed::default()).await).await,
    }
}

/// What a name may mean, the likeliest first.
fn sources(name: &str, container: Option<&str>) -> Vec<Source> {
    let target = |pod: &str, container: &str| {
        Source::Container(api::ContainerTarget { pod: pod.to_owned(), container: container.to_owned() })
    };
    match container {
        Some(container) => vec![target(name, container)],
        None if name.contains('/') => vec![target(name, "")],
        None => vec![Source::Service(name.to_owned()), target(name, ""), target("", name)],
    }
}

/// The log of the first of them that there is.
async fn open(
    host: &Host<'_>,
    sources: &[Source],
    which: Which,
    printed: &Printed,
) -> Result<(Streaming<api::LogsResponse>, usize), Failure> {
    let mut first = None;
    for source in sources {
        let is_numbered = matches!(source, Source::Service(_));
        let (Which { follow, tail, since_unix_ms }, skip) = printed.rest(which, is_numbered);
        let after = printed.place.clone().filter(|_| is_numbered);
        let request = api::LogsRequest { source: Some(source.clone()), follow, tail, since_unix_ms, after };
        // A stream has no deadline: it may be followed for days.
        match host.link.client().logs(request).await.map_err(Failure::from) {
            Ok(stream) => return Ok((stream.into_inner(), skip)),
            // What the name most likely meant is what is missing.
            Err(failure) if failure.is_not_found() => first = first.or(Some(failure)),
            Err(failure) => return Err(failure),
        }
    }
    let failure = first.unwrap_or(Failure::Short);
    // Pods come some time after their host.
    match printed.time_unix_ms {
        Some(_) => Err(Failure::NotYet(failure.to_string())),
        None => Err(failure),
    }
}

/// Messages of the kernel and of PID 1.
pub(crate) async fn dmesg(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let which = Which::of(call)?;
    let print = async |host: &Host<'_>, printed: &mut Printed| {
        let (Which { follow, tail, since_unix_ms }, _) = printed.rest(which, true);
        let after = printed.place.clone();
        let request = api::DmesgRequest { follow, tail, since_unix_ms, after };
        let mut stream = host.link.client().dmesg(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            for message in answer.messages {
                printed.line(&answer.boot_id, Some(message.number), message.time_unix_ms);
                let uptime = message.uptime_ms;
                match output.json {
                    true => output.object(host.name, object(&message))?,
                    false => output.line(
                        host.name,
                        &format!("{:>6}.{:03} {}", uptime / 1000, uptime % 1000, message.text),
                    )?,
                }
            }
        }
        Ok(())
    };
    Ok(told(asked(fleet, which, print).await)?.1)
}

/// Services as they change.
pub(crate) async fn events(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let service = call.asked.word(0).unwrap_or_default();
    let count = call.number("count")?.unwrap_or(u32::MAX);
    let answers = fleet.each(async |host| {
        let mut left = count;
        let request = api::EventsRequest { service: service.to_owned() };
        let mut stream = host.link.client().events(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            if answer.lost > 0 {
                let time = answer.time_unix_ms;
                match output.json {
                    true => output.object(
                        host.name,
                        serde_json::json!({ "lost": answer.lost, "time-unix-ms": time }),
                    )?,
                    false => output.line(host.name, &lost_line(time, answer.lost))?,
                }
            }
            for change in &answer.changes {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                match output.json {
                    true => {
                        let mut event = object(change);
                        event["time-unix-ms"] = answer.time_unix_ms.into();
                        output.object(host.name, event)?;
                    }
                    false => output.line(host.name, &change_line(answer.time_unix_ms, change))?,
                }
            }
            if left == 0 {
                return Ok(());
            }
        }
        Ok(())
    });
    Ok(told(answers.await)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_connection_goes_on_behind_what_was_printed() {
        let which = Which { follow: true, tail: Some(5), since_unix_ms: Some(10) };
        let mut printed = Printed::default();
        assert_eq!(printed.rest(which, false), (which, 0));
        for time in [20, 30, 30] {
            printed.line("b", None, time);
        }
        let rest = Which { follow: true, tail: None, since_unix_ms: Some(30) };
        assert_eq!((printed.rest(which, false), printed.place.clone()), ((rest, 2), None));
        printed.line("b", Some(7), 40);
        let rest = Which { follow: true, tail: None, since_unix_ms: Some(10) };
        assert_eq!(printed.rest(which, true), (rest, 0));
        assert_eq!(printed.place, Some(api::LogPlace { boot_id: "b".into(), number: 7 }));
    }

    #[test]
    fn what_a_name_means() {
        let target = |pod: &str, container: &str| {
            Source::Container(api::ContainerTarget { pod: pod.into(), container: container.into() })
        };
        assert_eq!(
            sources("web", None),
            [Source::Service("web".into()), target("web", ""), target("", "web")]
        );
        assert_eq!(sources("default/web", None), [target("default/web", "")]);
        assert_eq!(sources("web", Some("app")), [target("web", "app")]);
    }
}
