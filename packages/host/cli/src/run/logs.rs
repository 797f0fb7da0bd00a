//! Logs and events: lines of all hosts as they come.

use lepton_host_api::v1 as api;
use lepton_host_api::v1::logs_request::Source;
use tonic::Streaming;

use super::{Call, usage};
use crate::clock;
use crate::failure::Failure;
use crate::fleet::{Fleet, Host, told};
use crate::output::{Output, object};
use crate::show::{change_line, lost_line};
use crate::span;

/// Which lines.
#[derive(Clone, Copy, Debug)]
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
    let answers = fleet.each(async |host| {
        let mut stream = open(host, &sources, which).await?;
        while let Some(answer) = stream.message().await? {
            for line in answer.lines {
                match output.json {
                    true => output.object(host.name, object(&line))?,
                    false => output
                        .line(host.name, &format!("{} {}", span::rfc3339(line.time_unix_ms), line.text))?,
                }
            }
        }
        Ok(())
    });
    Ok(told(answers.await)?.1)
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
) -> Result<Streaming<api::LogsResponse>, Failure> {
    let mut first = None;
    for source in sources {
        let Which { follow, tail, since_unix_ms } = which;
        let request =
            api::LogsRequest { source: Some(source.clone()), follow, tail, since_unix_ms, after: None };
        // A stream has no deadline: it may be followed for days.
        match host.link.client().logs(request).await.map_err(Failure::from) {
            Ok(stream) => return Ok(stream.into_inner()),
            // What the name most likely meant is what is missing.
            Err(failure) if failure.is_not_found() => first = first.or(Some(failure)),
            Err(failure) => return Err(failure),
        }
    }
    Err(first.unwrap_or(Failure::Short))
}

/// Messages of the kernel and of PID 1.
pub(crate) async fn dmesg(call: &Call<'_>, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let Which { follow, tail, since_unix_ms } = Which::of(call)?;
    let answers = fleet.each(async |host| {
        let request = api::DmesgRequest { follow, tail, since_unix_ms, after: None };
        let mut stream = host.link.client().dmesg(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            for message in answer.messages {
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
    });
    Ok(told(answers.await)?.1)
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
