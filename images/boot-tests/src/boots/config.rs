//! The machine config from each of its sources, from all at once, and with mistakes of every kind.
//!
//! The ready line tells which sources were used, the host name tells which one won.

mod effects;
mod media;
mod url;

use super::kernel;
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Bus, Disk, DiskFormat, Machine, Network};
use crate::ready::Ready;
pub(super) use effects::effects;
use media::Media;
pub(super) use url::{unreachable, url};

/// What every host name in these tests begins with; the source follows.
const NAME: &str = "edge-";

/// A config that says nothing but a host name with the source in it.
fn config(source: &str) -> String {
    format!("hostname = \"{NAME}{source}\"\n")
}

/// An OVF environment in the form that VMware gives it.
fn environment(properties: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="">
  <PlatformSection><Kind>QEMU</Kind></PlatformSection>
  <PropertySection>{properties}</PropertySection>
</Environment>
"#
    )
}

fn property(key: &str, value: &str) -> String {
    format!("<Property oe:key=\"lepton.{key}\" oe:value=\"{value}\"/>")
}

/// A machine that starts the kernel itself, with more words on its command line.
fn kernel_words(cx: &Context, words: &str) -> Result<Machine, TestError> {
    let kernel = cx.kernel()?.cmdline(&format!("{} {words}", cx.cmdline));
    Ok(kernel::machine(cx)?.kernel(kernel).network(Network::None))
}

/// Boots, and requires a host name, the sources besides the image, and the mistakes.
fn expect(
    cx: &Context,
    machine: &Machine,
    name: &str,
    sources: &[&str],
    errors: &[&str],
) -> Result<(), TestError> {
    let mut guest = cx.start(machine)?;
    let ready = guest.wait_ready()?;
    check(&guest, &ready, name, sources, errors)?;
    Ok(guest.power_off()?)
}

fn check(
    guest: &Guest,
    ready: &Ready,
    name: &str,
    sources: &[&str],
    errors: &[&str],
) -> Result<(), TestError> {
    let config = &ready.config;
    guest.require(ready.hostname == format!("{NAME}{name}"), || format!("the host name is {NAME}{name}"))?;
    let wanted: Vec<&str> = ["image"].iter().chain(sources).copied().collect();
    guest.require(config.sources == wanted, || format!("the sources are {wanted:?}"))?;
    guest.require(config.errors.len() == errors.len(), || format!("there are {} mistakes", errors.len()))?;
    for (said, wanted) in config.errors.iter().zip(errors) {
        guest.require(said.contains(wanted), || format!("the mistake {said:?} tells of {wanted:?}"))?;
    }
    Ok(())
}

pub(super) fn cmdline(cx: &Context) -> Result<(), TestError> {
    // hostname = "edge-inline" in base64, as a boot menu would have it.
    let machine = kernel_words(cx, "lepton.config=aG9zdG5hbWUgPSAiZWRnZS1pbmxpbmUiCg==")?;
    expect(cx, &machine, "inline", &["cmdline"], &[])
}

pub(super) fn fw_cfg(cx: &Context) -> Result<(), TestError> {
    let machine = kernel_words(cx, "")?.fw_cfg("opt/lepton/config", &config("fw-cfg"));
    expect(cx, &machine, "fw-cfg", &["fw_cfg"], &[])
}

/// What a user answered when the appliance was deployed, on the CD that the `iso` transport attaches.
pub(super) fn ovf_env(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let properties =
        [property("hostname", "edge-ovf"), property("addresses", "192.0.2.10/24"), property("gateway", "")];
    let cd = media.cd(cx, "OVF ENV", &[("ovf-env.xml", &environment(&properties.concat()))])?;
    let machine = kernel_words(cx, "")?.disk(Disk::new(&cd, DiskFormat::Raw, Bus::Cdrom));
    expect(cx, &machine, "ovf", &["ovf-env"], &[])
}

/// The name is in the metadata, as clouds have it; the user data says nothing about it.
pub(super) fn cidata(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let user_data = "[time]\nservers = [\"192.0.2.123\"]\n";
    let meta_data = "instance-id: i-1\nlocal-hostname: edge-cidata\n";
    let cd = media.cd(cx, "cidata", &[("user-data", user_data), ("meta-data", meta_data)])?;
    let machine = kernel_words(cx, "")?.disk(Disk::new(&cd, DiskFormat::Raw, Bus::Cdrom));
    expect(cx, &machine, "cidata", &["cidata"], &[])
}

pub(super) fn config_drive(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let disk = media.fat(
        cx,
        "config-2",
        &[
            ("openstack/latest/user_data", "[time]\nservers = [\"192.0.2.123\"]\n"),
            ("openstack/latest/meta_data.json", "{\"uuid\": \"x\", \"hostname\": \"edge-config-2\"}"),
        ],
    )?;
    let machine = kernel_words(cx, "")?.disk(Disk::new(&disk, DiskFormat::Raw, Bus::VirtioBlk));
    expect(cx, &machine, "config-2", &["config-2"], &[])
}

/// A file that a person has copied to the disk image, which then boots through its boot loader.
pub(super) fn esp(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let disk = media.with_esp_file(cx, &cx.artifact("raw")?, &config("esp"))?;
    let machine = cx.uefi().disk(Disk::new(&disk, DiskFormat::Raw, Bus::VirtioBlk)).network(Network::None);
    expect(cx, &machine, "esp", &["esp"], &[])
}

/// Every source has a host name and an unknown key: the name shows which one wins, the mistakes, in order, that all are read.
pub(super) fn all(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let text = |source: &str| format!("{}{source} = 1\n", config(source));
    let ovf = property("hostname", "edge-ovf") + &property("addresses", "nowhere");
    let cd = media.cd(cx, "OVF ENV", &[("ovf-env.xml", &environment(&ovf))])?;
    let cidata = media.fat(cx, "CIDATA", &[("user-data", &text("cidata")), ("meta-data", "")])?;
    let drive = media.fat(cx, "config-2", &[("openstack/latest/user_data", &text("config-2"))])?;
    let disk = media.with_esp_file(cx, &cx.artifact("raw")?, &text("esp"))?;
    let raw = |path, bus| Disk::new(path, DiskFormat::Raw, bus);
    let machine =
        kernel_words(cx, "lepton.config=hostname=%22edge-inline%22 ip=eth0:bad lepton.hostname=edge-word")?
            .disk(raw(&cd, Bus::Cdrom))
            .disk(raw(&cidata, Bus::VirtioBlk))
            .disk(raw(&drive, Bus::VirtioBlk))
            .disk(raw(&disk, Bus::VirtioBlk))
            .fw_cfg("opt/lepton/config", &text("fw-cfg"));
    let sources = ["esp", "config-2", "cidata", "fw_cfg", "ovf-env", "cmdline"];
    let errors = [
        "kernel command line: ip=eth0:bad",
        "ovf-env: lepton.addresses",
        "fw_cfg:2: fw-cfg: unknown key",
        "cidata: user-data:2: cidata: unknown key",
        "config-2: user_data:2: config-2: unknown key",
        "esp: lepton/config.toml:2: esp: unknown key",
    ];
    expect(cx, &machine, "word", &sources, &errors)
}

/// Wrong in every way: the host comes up with what is right and says what is wrong.
pub(super) fn broken(cx: &Context) -> Result<(), TestError> {
    let media = Media::new()?;
    let cd = media.cd(cx, "OVF ENV", &[("ovf-env.xml", "<Environment><PropertySection>")])?;
    let cidata = media.fat(cx, "cidata", &[("user-data", "#cloud-config\nhostname: x\n")])?;
    let large = format!("hostname = \"edge-large\"\n{}", "#".repeat(1 << 20));
    let drive = media.fat(
        cx,
        "config-2",
        &[("openstack/latest/user_data", large.as_str()), ("openstack/latest/meta_data.json", "{")],
    )?;
    let half = "hostname = \"edge-half\"\n[[network.links]]\nmatch = { name = \"eth0\"\n[time]\nservers = [5]\n[[files]]\npath = \"/usr/bin/x\"\ncontent = \"\"\n[sysctl]\n\"kernel.no_such_key\" = 1\n";
    let machine =
        kernel_words(cx, "lepton.config=aG9zdG5hbWU9J3gn! lepton.hostname=-x vlan=eth0 lepton.nonsense=1")?
            .disk(Disk::new(&cd, DiskFormat::Raw, Bus::Cdrom))
            .disk(Disk::new(&cidata, DiskFormat::Raw, Bus::VirtioBlk))
            .disk(Disk::new(&drive, DiskFormat::Raw, Bus::VirtioBlk))
            .fw_cfg("opt/lepton/config", half);
    let sources = ["config-2", "cidata", "fw_cfg", "ovf-env", "cmdline"];
    let errors = [
        "unknown key lepton.nonsense",
        "kernel command line: vlan=eth0",
        "lepton.hostname: \"-x\" is not a host name",
        "lepton.config: not base64",
        "ovf-env: not an environment",
        "fw_cfg:3: missing key",
        "fw_cfg:5: time.servers[0]",
        "fw_cfg:7: files[0].path: /usr/bin/x is not below /etc",
        "cidata: user-data:1: this is a cloud-init config",
        "config-2: user_data: larger than 1048576 bytes",
        "config-2: meta_data.json:",
        "cannot set kernel.no_such_key",
    ];
    expect(cx, &machine, "half", &sources, &errors)
}
