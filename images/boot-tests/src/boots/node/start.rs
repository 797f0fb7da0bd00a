//! How long a pod takes whose image is there, from its manifest to its first instruction, in time that counts
//! instructions and is the same on every machine.

use super::{PATIENCE, Shell, machine_with};
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::Clock;

/// Milliseconds that a pod may take.
const BUDGET: u64 = 2_000;
/// The first pod finds nothing in caches.
const PODS: [&str; 3] = ["first", "second", "third"];

/// A pod that tells when it began.
fn manifest(name: &str) -> String {
    format!(
        "apiVersion: v1\\nkind: Pod\\nmetadata: {{name: {name}}}\\nspec: {{containers: [{{name: {name}, image: \
         \"localhost/busybox:1\", command: [sh, -c, \"read up idle < /proc/uptime; echo $up; sleep 3600\"]}}]}}\\n"
    )
}

pub(in crate::boots) fn start(cx: &Context) -> Result<(), TestError> {
    let machine = machine_with(cx, "hostname = \"edge-1\"\n")?.cpus(1).clock(Clock::Counted);
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    for name in PODS {
        let folder = "/var/lib/lepton/pods";
        shell.run(&format!("printf '{}' > /run/{name}.yaml", manifest(name)))?;
        shell.run(&format!(
            "read up idle < /proc/uptime; echo $up > /run/{name}; cp /run/{name}.yaml {folder}/{name}.yaml"
        ))?;
        shell.until("the pod begins", &format!("lepton ctr logs {name} | grep ."))?;
        shell.guest.type_line(&format!("echo took=$(cat /run/{name}),$(lepton ctr logs {name}),"))?;
        let took = shell.guest.wait_for("both times", took)?;
        if took > BUDGET {
            let what = "milliseconds to a pod's first instruction";
            return Err(TestError::OverBudget { what, value: Some(took), budget: BUDGET });
        }
    }
    Ok(guest.power_off()?)
}

/// Milliseconds between the two times of a line `took=12.34,13.45,`.
fn took(line: &str) -> Option<u64> {
    let mut times = line.split_once("took=")?.1.split(',').map(milliseconds);
    let (from, to) = (times.next()??, times.next()??);
    to.checked_sub(from)
}

/// Seconds with two digits behind the point, as `/proc/uptime` has them.
fn milliseconds(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(took("took=12.34,13.05,"), Some(710));
        assert_eq!(took("# echo took=$(cat /run/first),$(lepton ctr logs first),"), None);
    }
}
