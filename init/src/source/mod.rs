//! Where the machine config comes from: every source is looked at once, and of several that have a key the first gives it.
//!
//! Precedence, highest first: kernel command line, guestinfo of VMware, the CD with an OVF environment, QEMU's fw_cfg, a
//! disk labelled `cidata`, one labelled `config-2`, the EFI system partition, what was applied on the running host, the image.
//! Nothing here waits for the network; disks are waited for when the command line says so, and the boot disk for a few
//! seconds. A source that is not there or cannot be used never stops a boot: it is left aside with its reason.

mod applied;
mod apply;
mod cmdline;
mod difference;
mod esp;
mod fw_cfg;
mod iso;
mod json;
mod label;
mod layers;
mod nocloud;
mod ovf_env;
mod vmware;
mod volume;

use std::io;

use lepton_config::{MachineConfig, Parsed};

use crate::cmdline::Cmdline;
use crate::files;
use crate::kmsg::{self, Level};
use crate::options::Options;

pub use applied::{FILE as APPLIED_FILE, read as read_applied, store as store_applied};
pub use apply::{Before, apply_changes};
pub use difference::{Differs, differences, merged_by, table_of, tables_that_differ};
pub use layers::{APPLIED, Layers, Source, Unusable};

/// The effective config, for the services of the host.
pub const EFFECTIVE: &str = "/run/lepton/config.toml";
/// The last source.
const IMAGE_NAME: &str = "image";
/// The config that was built into the image.
const IMAGE: &str = "/usr/share/lepton/config.toml";

/// What all sources say.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The sources that are used, highest precedence first.
    pub sources: Vec<Source>,
    /// One sentence per mistake.
    pub errors: Vec<String>,
    /// One sentence per source or part of it that was left aside.
    pub skipped: Vec<String>,
    /// A further config, to be fetched by the service `config` once there is a network.
    pub later: Option<Pending>,
}

/// A config that a source names by its URL.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Where it is. It may hold a password, so it is never printed.
    pub url: String,
    /// The source that names it; what is fetched comes behind that.
    pub source: &'static str,
}

/// What one source says.
#[derive(Clone, Debug, Default)]
struct Layer {
    config: MachineConfig,
    errors: Vec<String>,
    skipped: Vec<String>,
    url: Option<String>,
}

impl Layer {
    /// Adds what a document of this source says, with lower precedence than what is there.
    fn add(&mut self, parsed: Parsed) {
        self.config.fill_from(parsed.config);
        self.errors.extend(parsed.problems.iter().map(ToString::to_string));
    }
}

/// A source that is used, or why it is not.
type Look = Result<Layer, String>;

/// Looks at every source; needs `/proc`, `/sys`, `/dev` and `/run`.
pub fn gather(cmdline: &Cmdline, options: &Options) -> Gathered {
    let mut gathered = Gathered::default();
    let volumes = volume::Volumes::scan(options.config_wait);
    // Lazily, so that each is looked at in the order of precedence and its log lines stand in that order.
    let looks: [(&'static str, &dyn Fn() -> Look); 8] = [
        ("cmdline", &|| cmdline::look(cmdline)),
        ("guestinfo", &vmware::look),
        ("ovf-env", &|| iso::look(&volumes)),
        ("fw_cfg", &fw_cfg::look),
        ("cidata", &|| nocloud::cidata(&volumes)),
        ("config-2", &|| nocloud::config_drive(&volumes)),
        ("esp", &|| esp::look(&volumes)),
        (IMAGE_NAME, &image),
    ];
    for (name, look) in looks {
        match look() {
            Ok(layer) => gathered.add(name, layer),
            Err(reason) => gathered.skip(format!("{name}: {reason}")),
        }
    }
    gathered
}

impl Gathered {
    /// Adds a source of lower precedence than those before.
    fn add(&mut self, name: &'static str, layer: Layer) {
        kmsg::log(Level::Debug, &format!("config from {name}"));
        self.sources.push(Source { name, config: layer.config });
        for error in layer.errors {
            kmsg::warn(&format!("config: {error}"));
            self.errors.push(error);
        }
        for reason in layer.skipped {
            self.skip(reason);
        }
        let Some(url) = layer.url else { return };
        if self.later.is_some() {
            self.skip(format!("{name}: its URL, because a source before it names one"));
        } else {
            self.later = Some(Pending { url, source: name });
        }
    }

    fn skip(&mut self, reason: String) {
        kmsg::log(Level::Debug, &format!("config: skipped {reason}"));
        self.skipped.push(reason);
    }
}

/// The image is always a source: it has defaults even when nobody built a config into it.
fn image() -> Look {
    let mut layer = Layer::default();
    match std::fs::read(IMAGE) {
        Ok(bytes) => layer.add(lepton_config::parse_bytes(IMAGE, &bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => layer.errors.push(format!("cannot read {IMAGE}: {error}")),
    }
    Ok(layer)
}

/// Name of the machine's vendor in the firmware's tables, such as `VMware, Inc.` or `QEMU`.
fn vendor() -> Option<String> {
    files::read_value("/sys/class/dmi/id/sys_vendor").ok()
}
