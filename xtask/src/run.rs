//! `run`: builds an image and boots it in QEMU on this terminal.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use lepton_boot_tests::interactive;
use lepton_boot_tests::machine::{Bus, Disk, DiskFormat, Firmware, Forward, Kernel, Machine, Network};
use lepton_builder::artifact::Format;

use crate::cli::{Cli, RunFirmware, RunFormat, RunOptions};
use crate::context::{CommandResult, Context};
use crate::exit::BadArgument;
use crate::image::{self, Order};

/// Where `run` puts what it boots.
const OUT: &str = "out";

/// `cargo xtask run`.
pub(crate) fn run(options: &RunOptions, cli: &Cli) -> CommandResult {
    if options.firmware == RunFirmware::Bios && options.format != RunFormat::Iso {
        let text = "only the ISO boots with BIOS firmware\nhint: add --format iso";
        return Err(BadArgument(text.to_owned()).into());
    }
    let forwards = forwards(&options.forward)?;
    let context = Context::new(cli, options.offline)?;
    let (image, arch) = context.target(&options.target)?;
    let format = match options.format {
        RunFormat::Raw => Format::Raw,
        RunFormat::Qcow2 => Format::Qcow2,
        RunFormat::Iso => Format::Iso,
        RunFormat::Kernel => Format::Pxe,
    };
    let formats = [format];
    let order = Order { offline: options.offline, ..Order::plain(&formats, Path::new(OUT)) };
    let built = image::build(&context, &image, arch, &order)?;
    let plan = built.locked.plan();
    let path = Path::new(OUT).join(format!("{}.{}", built.locked.stem(), format.extension()));
    let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let mut machine = Machine::new(arch)
        .memory_mib(options.memory.unwrap_or(plan.machine.memory_mib))
        .cpus(options.smp.unwrap_or(plan.machine.cpus))
        .network(Network::Host(forwards));
    if options.firmware == RunFirmware::Bios {
        machine = machine.firmware(Firmware::Bios);
    }
    machine = match options.format {
        RunFormat::Raw => machine.disk(Disk::new(&path, DiskFormat::Raw, Bus::VirtioBlk)),
        RunFormat::Qcow2 => machine.disk(Disk::new(&path, DiskFormat::Qcow2, Bus::VirtioBlk)),
        RunFormat::Iso => machine.disk(Disk::new(&path, DiskFormat::Raw, Bus::Cdrom)),
        RunFormat::Kernel => {
            let image = path.join(arch.direct_boot_kernel());
            machine.firmware(Firmware::Bios).kernel(Kernel::new(&image, &path.join("initrd"), &plan.cmdline))
        }
    };
    let tools = context.toolbox().tree("test")?;
    context.progress.line(&format!("booting {} in QEMU; Ctrl-A X ends it", path.display()));
    let status = interactive(&machine, tools.root())?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn forwards(texts: &[String]) -> Result<Vec<Forward>, BadArgument> {
    let parse = |text: &String| {
        let (host, guest) = text.split_once(':')?;
        Some(Forward { host: host.parse().ok()?, guest: guest.parse().ok()? })
    };
    texts
        .iter()
        .map(|text| {
            let wrong =
                || BadArgument(format!("{text:?} is no port forward; write HOST:GUEST, as in 8080:80"));
            parse(text).ok_or_else(wrong)
        })
        .collect()
}
