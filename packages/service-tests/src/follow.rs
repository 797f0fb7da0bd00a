//! Followers of PID 1: what they are told of services and logs.

use std::fs;

use lepton_control::{Answer, LogLine, LogName, Request, ServiceState};

use crate::pid1::{ask, connect, holds, until};

/// Every state that a service comes into while it is restarted is told, in order.
pub(crate) fn changes() -> Result<String, String> {
    let name = "steady";
    let was = until(name, |status| status.state == ServiceState::Ready)?;
    let (mut seen, mut failure) = (Vec::new(), None);
    let each = |answer| match answer {
        // The follower follows by now, so nothing is missed.
        Answer::Services(_) => {
            failure = ask(&Request::Restart { name: name.to_owned() }).err();
            failure.is_none()
        }
        Answer::Change(change) if change.service.name == name => {
            seen.push((change.before, change.service.state, change.service.starts));
            change.service.state != ServiceState::Ready
        }
        _ => true,
    };
    connect()?.watch(each).map_err(|error| error.to_string())?;
    failure.map_or(Ok(()), Err)?;
    let (starts, after) = (was.starts, was.starts + 1);
    let expected = [
        (Some(ServiceState::Ready), ServiceState::Stopping, starts),
        (Some(ServiceState::Stopping), ServiceState::BackOff, starts),
        (Some(ServiceState::BackOff), ServiceState::Waiting, starts),
        (Some(ServiceState::Waiting), ServiceState::Starting, after),
        (Some(ServiceState::Starting), ServiceState::Ready, after),
    ];
    holds(seen == expected, || format!("{seen:?}"))?;
    Ok(format!("changes={}", seen.len()))
}

/// A log that is read in two parts has every line once.
pub(crate) fn numbers() -> Result<String, String> {
    let read = |from: Option<u64>, last: &str| {
        let mut numbers = Vec::new();
        let each = |line: LogLine| {
            numbers.push(line.number);
            !line.text.ends_with(last)
        };
        // Without the line feed the kernel keeps it back for a continuation.
        fs::write("/dev/kmsg", format!("<13>{last}\n")).map_err(|error| error.to_string())?;
        connect()?.follow(LogName::Kernel, from, each).map_err(|error| error.to_string())?;
        Ok::<_, String>(numbers)
    };
    let first = read(None, "service-tests: numbers, one")?;
    let last = *first.last().ok_or("there is no line")?;
    let second = read(Some(last + 1), "service-tests: numbers, two")?;
    let all: Vec<u64> = first.iter().chain(&second).copied().collect();
    let is_whole = all.windows(2).all(|pair| pair[1] == pair[0] + 1) && !second.is_empty();
    holds(is_whole, || format!("{first:?}, then {second:?}"))?;
    Ok(format!("lines={}", all.len()))
}
