//! Verbs with one question and one answer.

use std::io::Write;

use lepton_host_api::v1 as api;

use super::Call;
use crate::exit;
use crate::failure::Failure;
use crate::fleet::{Fleet, shown, told};
use crate::output::Output;
use crate::verbs::Action;

/// Asks all hosts one thing and shows their answers.
pub(crate) async fn look(
    call: &Call<'_>,
    action: Action,
    fleet: &Fleet,
    output: &Output<'_>,
) -> Result<u8, Failure> {
    let name = call.asked.word(0).unwrap_or_default();
    macro_rules! ask {
        ($method:ident, $message:expr) => {
            shown(
                fleet
                    .each(async |host| {
                        Ok(host.link.client().$method(host.request($message)).await?.into_inner())
                    })
                    .await,
                output,
            )
        };
    }
    match action {
        Action::Status => ask!(status, api::StatusRequest {}),
        Action::Services => ask!(services, api::ServicesRequest { name: name.to_owned() }),
        Action::Start => ask!(start_service, api::StartServiceRequest { name: name.to_owned() }),
        Action::Stop => ask!(stop_service, api::StopServiceRequest { name: name.to_owned() }),
        Action::Restart => ask!(restart_service, api::RestartServiceRequest { name: name.to_owned() }),
        Action::Processes => ask!(processes, api::ProcessesRequest {}),
        Action::Net => ask!(network, api::NetworkRequest {}),
        Action::Disks => ask!(disks, api::DisksRequest {}),
        Action::Mounts => ask!(mounts, api::MountsRequest {}),
        Action::Time => ask!(time, api::TimeRequest {}),
        Action::Pods => ask!(pods, api::PodsRequest { namespace: name.to_owned() }),
        Action::Containers => ask!(containers, api::ContainersRequest { all: call.asked.has("all") }),
        Action::Images => ask!(images, api::ImagesRequest {}),
        Action::Version => {
            if !output.json {
                output.text(&format!("lepton {}", env!("CARGO_PKG_VERSION")))?;
            }
            ask!(version, api::VersionRequest {})
        }
        _ => power(call, action, fleet, output).await,
    }
}

/// Verbs whose answer is that they were taken.
async fn power(call: &Call<'_>, action: Action, fleet: &Fleet, output: &Output<'_>) -> Result<u8, Failure> {
    let later = call.asked.has("later");
    let answers = fleet.each(async |host| {
        let mut client = host.link.client();
        match action {
            Action::Reboot => drop(client.reboot(host.request(api::RebootRequest {})).await?),
            Action::Poweroff => drop(client.poweroff(host.request(api::PoweroffRequest {})).await?),
            _ => drop(client.reset(host.request(api::ResetRequest { later })).await?),
        }
        Ok(())
    });
    let what = match action {
        Action::Reboot => "restarts",
        Action::Poweroff => "goes down",
        _ if later => "will be emptied at its next start",
        _ => "restarts, and is emptied",
    };
    taken(answers.await, what, output)
}

/// Says of each host what it does now.
pub(crate) fn taken(
    answers: crate::fleet::Answers<'_, ()>,
    what: &str,
    output: &Output<'_>,
) -> Result<u8, Failure> {
    let (good, code) = told(answers)?;
    for (host, ()) in good {
        match output.json {
            true => output.object(host, serde_json::json!({ "done": what }))?,
            false => output.text(&format!("{host} {what}"))?,
        }
    }
    Ok(code)
}

/// What runs here, when there is no host to ask.
pub(crate) fn own_version(json: bool, sink: &mut dyn Write) -> Result<u8, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match json {
        true => writeln!(sink, "{}", serde_json::json!({ "lepton": version }))?,
        false => writeln!(sink, "lepton {version}")?,
    }
    Ok(exit::DONE)
}
