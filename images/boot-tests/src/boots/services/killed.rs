//! Services of other images, killed a hundred times each: what PID 1 makes of it by the policy of their recipes, and
//! what the host keeps of its network meanwhile.

use super::{judge, machine};
use crate::Context;
use crate::boots::field::start;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Clock, Network};
use crate::runner::Peer;

/// A static address alone, so that nothing but kills could change what the host has.
const STATIC: &str = "[[network.links]]\nmatch={name='eth0'}\naddresses=['10.0.2.15/24']\ngateways=['10.0.2.2']\naccept-ra=false\n";
/// The URL of a machine config on a neighbour that is not there.
const WORDS: &str = "lepton.config=http://10.0.2.99/edge-1.toml";
/// With a clock that skips idle time, because back-off is nearly an hour in all.
pub(in crate::boots) fn killed(cx: &Context) -> Result<(), TestError> {
    let machine = machine(cx, Peer::ServiceTests, WORDS)?
        .network(Network::Isolated)
        .clock(Clock::Counted)
        .fw_cfg("opt/lepton/config", &judge("killed", STATIC));
    let mut guest = start(cx, &machine)?;
    judged(&mut guest, &["network", "config"])?;
    Ok(guest.power_off()?)
}

/// Waits for the end of the judge, and requires that it found these services good.
fn judged(guest: &mut Guest, services: &[&str]) -> Result<(), TestError> {
    guest.wait_line("the judge's last line", "service-tests: end")?;
    for service in services {
        let is_good = guest.console().contains(&format!("service-tests: killed {service} ok"));
        guest.require(is_good, || format!("{service} may be killed and leaves nothing"))?;
    }
    Ok(())
}
