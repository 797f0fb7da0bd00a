//! The boot tests: every way in which a person can start an image.
//!
//! A body says which machine and what must hold; everything else is in `context.rs` and `guest.rs`.

mod config;
mod disk;
mod field;
mod install;
mod iso;
mod kernel;
mod network;
mod node;
mod ova;
mod runtime;
mod services;
mod state;

pub use kernel::measure;
use lepton_builder::arch::Arch;

use crate::Context;
use crate::context::TestError;
use crate::ready::Ready;
use crate::runner::{Peer, Test, When};

const ANY: &[Arch] = &Arch::ALL;
/// For PC firmware and VMware's devices, which exist on x86_64 only, AHCI, for which AAVMF has no driver, and what takes
/// long to compile.
const PC: &[Arch] = &[Arch::X86_64];
/// For what only the aarch64 appliance has: its disk on NVMe, because the kernel has no PVSCSI driver there. And for what
/// is kept for `--all` there.
const ARM: &[Arch] = &[Arch::Aarch64];

/// All tests, the quickest first, so that a broken image is seen early.
pub(crate) const TESTS: &[Test] = &[
    always("kernel", ANY, kernel::direct),
    always("ctrl-alt-del", PC, kernel::ctrl_alt_del),
    always("budgets", ANY, kernel::budgets),
    always("config-ovf-env", ANY, config::ovf_env),
    always("config-cidata", ANY, config::cidata),
    with_all("config-cmdline", ANY, config::cmdline),
    with_all("config-fw-cfg", ANY, config::fw_cfg),
    with_all("config-drive", ANY, config::config_drive),
    always("config-esp", ANY, config::esp),
    always("config-all", ANY, config::all),
    always("config-broken", ANY, config::broken),
    always("config-effects", ANY, config::effects),
    always("config-url", ANY, config::url),
    always("config-unreachable", ANY, config::unreachable),
    always("raw-virtio", ANY, disk::raw_virtio),
    always("raw-nvme", ANY, disk::raw_nvme),
    always("raw-ahci", PC, disk::raw_ahci),
    always("raw-4k", ANY, disk::raw_4k),
    with_all("raw-usb", ANY, disk::raw_usb),
    always("qcow2", ANY, disk::qcow2),
    with_all("vmdk", ANY, disk::vmdk),
    always("iso-cd-bios", PC, iso::cd_bios),
    always("iso-usb-bios", PC, iso::usb_bios),
    always("iso-cd-uefi", ANY, iso::cd_uefi),
    always("iso-usb-uefi", ANY, iso::usb_uefi),
    always("pxe-ipxe", PC, network::ipxe),
    always("pxe-uefi", ANY, network::pxe),
    always("http-uefi", ANY, network::http),
    always("network-dhcp", ANY, field::dhcp),
    always("network-ipv6", ANY, field::by_router),
    always("network-words", ANY, field::on_the_command_line),
    always("network-lacp", ANY, field::lacp),
    with_all("network-clock", ANY, field::clock),
    always("services", ANY, services::misbehave).with(&[Peer::ServiceTests]),
    always("services-killed", ANY, services::killed).with(&[Peer::ServiceTests]),
    always("services-logs", ANY, services::logs).with(&[Peer::ServiceTests]),
    always("services-watchdog", ANY, services::watchdog).with(&[Peer::ServiceTests]),
    always("services-screen", ANY, services::screen).with(&[Peer::ServiceTests]),
    always("runtime", ANY, runtime::judged).with(&[Peer::RuntimeTests]),
    // To compile kubelet takes ten minutes of a processor for each architecture: by default it is done for one.
    always("node", PC, node::alone).with(&[Peer::NodeTests]),
    with_all("node-aarch64", ARM, node::alone).with(&[Peer::NodeTests]),
    always("host", PC, node::host).with(&[Peer::NodeTests, Peer::CommandLine]),
    with_all("host-aarch64", ARM, node::host).with(&[Peer::NodeTests, Peer::CommandLine]),
    with_all("ports", ANY, node::ports).with(&[Peer::NodeTests, Peer::CommandLine]),
    with_all("applied", ANY, node::applied).with(&[Peer::NodeTests]),
    with_all("applied-in-memory", ANY, node::applied_in_memory).with(&[Peer::NodeTests]),
    with_all("applied-cuts", ANY, node::applied_cuts).with(&[Peer::NodeTests]),
    with_all("identity-aarch64", ARM, node::identity).with(&[Peer::NodeTests]),
    with_all("node-life", ANY, node::life).with(&[Peer::NodeTests]),
    always("identity", PC, node::identity).with(&[Peer::NodeTests]),
    with_all("node-route", ANY, node::route).with(&[Peer::NodeTests]),
    with_all("node-start", ANY, node::start).with(&[Peer::NodeTests]),
    with_all("node-drain", ANY, node::drain).with(&[Peer::NodeTests]),
    always("runtime-containers", ANY, runtime::containers).with(&[Peer::RuntimeTests]),
    with_all("debug-shell", ANY, services::debug_shell).with(&[Peer::Debug]),
    always("state-grow", ANY, state::grows),
    always("state-grow-4k", ANY, state::grows_4k),
    with_all("state-grow-huge", ANY, state::grows_huge),
    always("state-blank", ANY, state::made_on_a_blank_disk),
    always("state-of-another", ANY, state::left_alone_by_a_cd),
    always("state-refuse", ANY, state::refuses_used_disks),
    always("state-repair", ANY, state::repairs),
    always("state-cuts", ANY, state::two_power_cuts),
    with_all("state-cuts-many", ANY, state::many_power_cuts),
    always("install-virtio", ANY, install::cd_virtio),
    always("install-nvme", ANY, install::cd_nvme),
    always("install-ahci", PC, install::cd_ahci),
    with_all("install-wipe", ANY, install::cd_wipe),
    always("install-ipxe", PC, install::ipxe),
    always("install-pxe", ANY, install::pxe),
    always("install-http", ANY, install::http),
    always("install-command", ANY, install::by_command),
    always("install-boot-entry", ANY, install::boot_entry),
    always("install-refuse", ANY, install::refusals),
    with_all("install-own-stick", ANY, install::own_stick),
    always("install-cuts", ANY, install::two_power_cuts),
    with_all("install-cuts-many", ANY, install::many_power_cuts),
    always("ova", ANY, ova::virtio),
    always("ova-nvme", ARM, ova::nvme),
    always("ova-vmware", PC, ova::vmware),
];

type Body = fn(&Context) -> Result<(), TestError>;

const fn always(name: &'static str, arches: &'static [Arch], run: Body) -> Test {
    Test { name, arches, when: When::Always, peers: &[], run }
}

/// For what another test nearly proves.
const fn with_all(name: &'static str, arches: &'static [Arch], run: Body) -> Test {
    Test { name, arches, when: When::All, peers: &[], run }
}

/// The state partition lies on a device whose node starts so.
fn state_on(ready: &Ready, prefix: &str) -> Vec<(String, bool)> {
    let device = ready.state.device.as_deref();
    let holds = device.is_some_and(|device| device.starts_with(prefix));
    vec![(format!("the state partition is on {prefix}*, not {}", device.unwrap_or("in memory")), holds)]
}

/// There is no state partition: the image runs in memory.
fn no_state(ready: &Ready) -> Vec<(String, bool)> {
    vec![("nothing but memory keeps state".to_owned(), ready.state.device.is_none())]
}
