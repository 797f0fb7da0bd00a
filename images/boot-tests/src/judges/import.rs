//! The appliance imported by VMware's own command line: `govc` reads the descriptor and uploads the disk, and `vcsim`,
//! the simulator of vCenter's API, makes a virtual machine of it. What that machine got is compared.
//!
//! vcsim 0.46.3 drops `vmw:Config` (firmware and its kin; `ova.rs` looks at those in the descriptor), gives every
//! property the last category, and names no digest of an upload, so govc cannot check the manifest (`import.ova -m`);
//! `sha256sum` and cot do that.

use std::io;
use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_formats::ovf::HOST_PROPERTIES;
use serde::Deserialize;

use super::case::{Defect, hold, scratch};
use super::plant::Copy;
use super::{Verdict, appliance, refuse, require, tool};
use crate::Context;
use crate::context::TestError;
use crate::runner::Peer;

/// A simulated data center with one host and no machine, in a network of its own. Prints one JSON object.
const IMPORT: &str = r#"
ip link set lo up
PATH=$PATH:/peer GOVC_URL=https://user:pass@127.0.0.1:8989/sdk GOVC_INSECURE=1
export PATH GOVC_URL GOVC_INSECURE
vcsim -l 127.0.0.1:8989 -cluster 0 -vm 0 >/tmp/vcsim.log 2>&1 &
for pause in 0.2 0.3 0.5 1 2 5 10 20; do
  if govc about >/dev/null 2>&1; then break; fi
  sleep $pause
done
govc import.spec "$1" >/tmp/spec.json
sed 's/"Network": ""/"Network": "VM Network"/' /tmp/spec.json >/tmp/options.json
govc import.ova -options=/tmp/options.json -name=imported "$1" >/tmp/import.log
for part in spec vm.info device.info; do
  case $part in
    spec) printf '{"spec":'; cat /tmp/spec.json ;;
    vm.info) printf ',"vm":'; govc vm.info -json imported ;;
    device.info) printf ',"hardware":'; govc device.info -json -vm imported; printf '}' ;;
  esac
done
"#;

/// What vcsim says about NVMe and SATA controllers, neither of which it knows.
const UNKNOWN_CONTROLLER: &str = "unsupported resource type: 20";

#[derive(Debug, Deserialize)]
struct Imported {
    spec: Spec,
    vm: Machines,
    hardware: Devices,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    property_mapping: Vec<Answer>,
    network_mapping: Vec<Mapping>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    key: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mapping {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Machines {
    virtual_machines: Vec<Machine>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    guest_id: String,
    version: String,
    hardware: Hardware,
    v_app_config: VApp,
}

#[derive(Debug, Deserialize)]
struct Hardware {
    #[serde(rename = "numCPU")]
    cpus: u32,
    #[serde(rename = "memoryMB")]
    memory_mib: u32,
}

#[derive(Debug, Deserialize)]
struct VApp {
    property: Vec<Property>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    class_id: String,
    id: String,
    label: String,
    description: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default_value: String,
    user_configurable: bool,
}

#[derive(Debug, Deserialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    #[serde(rename = "type")]
    kind: String,
    key: i64,
    #[serde(default)]
    controller_key: i64,
    #[serde(default)]
    capacity_in_bytes: u64,
}

pub(super) fn machine(cx: &Context) -> Verdict {
    let dir = scratch()?;
    let artifact = cx.artifact("ova")?;
    let ova = match cx.arch {
        Arch::X86_64 => artifact,
        Arch::Aarch64 => {
            unknown_controller(cx, &artifact)?;
            let copy = dir.path().join("appliance.ova");
            let other = Copy::make(&artifact, &copy).and_then(|copy| with_known_controllers(&copy));
            other.map_err(TestError::file("copy", &artifact))?;
            copy
        }
    };
    let redescribe = |from: &'static str, to: &'static str| {
        move |copy: &Copy| -> io::Result<()> { appliance::redescribe(copy, from, to) }
    };
    let (unit, controller, card, version) = (
        redescribe("\"byte\"", "\"byte * 2^10\""),
        redescribe("ResourceSubType>VirtualSCSI", "ResourceSubType>lsilogic"),
        redescribe("ResourceSubType>VmxNet3", "ResourceSubType>E1000"),
        redescribe(">vmx-", ">vmx-1"),
    );
    hold(
        &ova,
        &|ova: &Path| compare(cx, &import(cx, ova)?),
        &[
            Defect::new("another unit of capacity", &unit),
            Defect::new("another disk controller", &controller),
            Defect::new("another network card", &card),
            Defect::new("other hardware", &version),
            Defect::new("no host name property", &appliance::without_hostname),
        ],
    )
}

fn import(cx: &Context, ova: &Path) -> Result<Imported, TestError> {
    let shell = tool::on(cx, "sh", ova).read_only(cx.peer(Peer::Govmomi)?, "/peer");
    let text = tool::report("govc", &shell.args(["-euc", IMPORT, "import"]).arg(tool::shown(ova)))?;
    serde_json::from_str(&text).map_err(|error| refuse("govc", format!("{error}: {text}")))
}

/// The day that this fails, vcsim knows the controller, and the appliance can be imported as it is.
fn unknown_controller(cx: &Context, ova: &Path) -> Verdict {
    match import(cx, ova) {
        Err(TestError::Refused { reason, .. }) if reason.contains(UNKNOWN_CONTROLLER) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(refuse("vcsim", format!("it does not say {UNKNOWN_CONTROLLER:?}, as it used to"))),
    }
}

/// All of the appliance for Arm but its controllers.
fn with_known_controllers(copy: &Copy) -> io::Result<()> {
    appliance::change(copy, |text| {
        let text = text.replace("vmware.nvme.controller", "VirtualSCSI").replace("vmware.sata.ahci", "");
        text.replacen("ResourceType>20<", "ResourceType>6<", 1).replacen(
            "ResourceType>20<",
            "ResourceType>5<",
            1,
        )
    })
}

fn compare(cx: &Context, found: &Imported) -> Verdict {
    let raw = cx.artifact("raw")?;
    let capacity = raw.metadata().map_err(TestError::file("read", &raw))?.len();
    let [machine] = &found.vm.virtual_machines[..] else {
        return Err(refuse("govc", format!("not one machine: {found:?}")));
    };
    let config = &machine.config;
    let of_kind =
        |kind: &str| found.hardware.devices.iter().filter(|device| device.kind == kind).collect::<Vec<_>>();
    let (disks, controllers) = (of_kind("VirtualDisk"), of_kind("ParaVirtualSCSIController"));
    let is_disk = matches!((&disks[..], &controllers[..]), ([disk], [controller])
        if disk.capacity_in_bytes == capacity && disk.controller_key == controller.key);
    let networks: Vec<&str> = found.spec.network_mapping.iter().map(|mapping| &*mapping.name).collect();
    for (what, holds) in [
        ("the number of processors", config.hardware.cpus == cx.cpus),
        ("memory", config.hardware.memory_mib == cx.memory_mib),
        ("the hardware version", config.version == cx.arch.vmware_hardware()),
        ("the guest", config.guest_id == cx.arch.vmware_guest()),
        ("the network card", of_kind("VirtualVmxnet3").len() == 1),
        ("the CD drive", of_kind("VirtualCdrom").len() == 1),
        ("the disk or its controller", is_disk),
        ("the network", networks == ["VM Network"]),
        ("the properties", has_properties(&config.v_app_config.property)),
        ("what the user is asked for", asks(&found.spec.property_mapping)),
    ] {
        require("vcsim", holds, || format!("{what} is wrong: {found:?}"))?;
    }
    Ok(())
}

fn has_properties(found: &[Property]) -> bool {
    found.len() == HOST_PROPERTIES.len()
        && found.iter().zip(HOST_PROPERTIES).all(|(found, ours)| {
            (&*found.id, &*found.label, &*found.description, &*found.default_value)
                == (ours.key, ours.label, ours.description, ours.value)
                && found.class_id == "lepton"
                && found.kind == "string"
                && found.user_configurable
        })
}

fn asks(found: &[Answer]) -> bool {
    found.len() == HOST_PROPERTIES.len()
        && found.iter().zip(HOST_PROPERTIES).all(|(found, ours)| {
            found.key.strip_prefix("lepton.") == Some(ours.key) && found.value == ours.value
        })
}
