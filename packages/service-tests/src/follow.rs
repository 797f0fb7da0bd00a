//! Followers of PID 1: what they are told of services.

use lepton_control::{Answer, Request, ServiceState};

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
