//! The main loop: hears what changed, tells links and clients, and makes the kernel have what is wanted.
//!
//! Everything is level-triggered: after any change the whole picture is read and compared, so that a lost
//! notification or a restart leaves nothing behind.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use lepton_notify::Notify;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::hostname::{self, HostName};
use crate::kernel::{Change, Heard, Link, Netlink, Notifications, Snapshot, sysctl};
use crate::link_runner::LinkRunner;
use crate::ntp::Ntp;
use crate::plan::{self, Role};
use crate::random::Random;
use crate::reconcile;
use crate::report::Report;
use crate::resolv::{self, Resolv};
use crate::settings::{Settings, Virtual};
use crate::time::{self, Instant};

mod outcome;

/// Time between two looks at the whole picture, while containers come and go.
const SYNC_WAIT: Duration = Duration::from_millis(100);
/// After a failure of the kernel to do something; drivers and firmware may need time.
const RETRY: Duration = Duration::from_secs(5);

/// What the program is given.
#[derive(Debug)]
pub struct Surroundings {
    /// The config.
    pub settings: Settings,
    /// Things to say about the config, such as a table that cannot be used.
    pub errors: Vec<String>,
    /// Folder for `network.json`, leases and `resolv.conf`; `/run/lepton`.
    pub run: PathBuf,
    /// The file that programs read; `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Links that count as hardware although the kernel made them.
    pub wired: Vec<String>,
    /// Sets the host name.
    pub hostname: Box<dyn HostName>,
    /// Sets the time.
    pub ntp: Ntp,
    /// Tells PID 1.
    pub notify: Notify,
    /// How often it waits to hear that the program is alive, if it does.
    pub watchdog: Option<Duration>,
}

/// The program at work.
#[derive(Debug)]
pub struct Daemon {
    with: Surroundings,
    netlink: Netlink,
    notifications: Notifications,
    links: BTreeMap<u32, LinkRunner>,
    random: Random,
    /// When the whole picture is looked at; nothing: nothing has changed.
    sync_at: Option<Instant>,
    synced: Instant,
    hostname: Option<String>,
    /// What went wrong in the last look, by change, so that each is logged once.
    errors: Vec<String>,
    report: Option<Report>,
    /// What PID 1 was told last.
    says: String,
    /// When it was told that the program is alive.
    alive_at: Instant,
}

impl Daemon {
    /// Opens the sockets.
    pub fn new(with: Surroundings) -> io::Result<Self> {
        Ok(Self {
            // First, so that nothing is missed between the first look and the first notification.
            notifications: Notifications::open()?,
            netlink: Netlink::open()?,
            with,
            links: BTreeMap::new(),
            random: Random::from_kernel(),
            sync_at: Some(Instant::ZERO),
            synced: Instant::ZERO,
            hostname: None,
            errors: Vec::new(),
            report: None,
            says: String::new(),
            alive_at: Instant::ZERO,
        })
    }

    /// Runs until `stop` can be read.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        self.sync(time::now());
        // Static configuration is there and clients have started: waiting for DHCP would delay every host without it.
        self.with.notify.ready();
        loop {
            if self.wait(stop)? {
                self.with.notify.stopping();
                return Ok(());
            }
            let now = time::now();
            self.hear(now)?;
            let mut has_changed = false;
            for link in self.links.values_mut() {
                has_changed |= link.receive(now);
                has_changed |= link.deadline().is_some_and(|due| due <= now) && link.timer(now);
            }
            if has_changed {
                self.sync_at = Some(now);
            }
            if self.with.ntp.run(now) {
                self.publish();
            }
            for line in self.with.ntp.lines.drain(..) {
                eprintln!("{line}");
            }
            if self.sync_at.is_some_and(|at| at <= now) {
                self.sync(now);
            }
            if self.alive_due().is_some_and(|due| due <= now) {
                self.with.notify.alive();
                self.alive_at = now;
            }
        }
    }

    /// When PID 1 waits to hear that this loop still turns.
    fn alive_due(&self) -> Option<Instant> {
        self.with.watchdog.map(|every| self.alive_at + every)
    }

    /// Sleeps until something arrives or is due; tells whether to stop.
    fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<bool> {
        let links = self.links.values().filter_map(LinkRunner::deadline);
        let others = [self.sync_at, self.with.ntp.deadline(), self.alive_due()];
        let due = links.chain(others.into_iter().flatten()).min();
        let timeout = due.map(|due| due.saturating_sub(time::now()).max(Duration::from_millis(1)));
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let own = [stop, std::os::fd::AsFd::as_fd(&self.notifications)];
        let sockets = self.links.values().flat_map(LinkRunner::sockets).chain(self.with.ntp.sockets());
        let mut fds: Vec<PollFd<'_>> =
            own.into_iter().chain(sockets).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(fds[0].revents().contains(PollFlags::IN)),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn hear(&mut self, now: Instant) -> io::Result<()> {
        for heard in self.notifications.drain()? {
            match heard {
                Heard::Changed => {}
                Heard::Options { link, bytes } => {
                    self.links.entry(link).and_modify(|link| link.hear_options(&bytes, now));
                }
                Heard::Prefix { link, bytes } => {
                    self.links.entry(link).and_modify(|link| link.hear_prefix(&bytes, now));
                }
            }
            // Soon, but not with every one of hundreds of changes.
            let at = now.max(self.synced + SYNC_WAIT);
            self.sync_at = Some(self.sync_at.map_or(at, |planned| planned.min(at)));
        }
        Ok(())
    }

    /// Makes the kernel and the files have what is wanted.
    fn sync(&mut self, now: Instant) {
        self.synced = now;
        self.sync_at = None;
        let mut errors = Vec::new();
        if let Err(error) = self.try_sync(now, &mut errors) {
            errors.push(format!("cannot read the kernel's links: {error}"));
        }
        for error in errors.iter().filter(|error| !self.errors.contains(error)) {
            eprintln!("{error}");
        }
        if !errors.is_empty() {
            self.sync_at = Some(now + RETRY);
        }
        self.errors = errors;
        self.publish();
    }

    fn try_sync(&mut self, now: Instant, errors: &mut Vec<String>) -> io::Result<()> {
        let mut snapshot = Snapshot::read(&mut self.netlink)?;
        if self.make_links(&snapshot, errors) {
            snapshot = Snapshot::read(&mut self.netlink)?;
        }
        let roles = plan::roles(&self.with.settings, &snapshot.links, &self.with.wired, &driver);
        if self.raise_links(&snapshot, &roles, errors) {
            snapshot = Snapshot::read(&mut self.netlink)?;
        }
        self.update_runners(&snapshot, &roles, now);
        self.set_addresses(&snapshot, now, errors);
        self.set_routes(errors)?;
        let snapshot = Snapshot::read(&mut self.netlink)?;
        self.set_files(now, errors);
        self.report = Some(self.make_report(&snapshot, &roles)?);
        Ok(())
    }

    /// Makes VLANs, bonds and bridges that are not there yet; tells whether any was made.
    fn make_links(&mut self, snapshot: &Snapshot, errors: &mut Vec<String>) -> bool {
        let mut has_made = false;
        // A VLAN may lie on a bond that is made in the same look: bonds and bridges come first.
        let (vlans, others): (Vec<_>, Vec<_>) =
            self.with.settings.links.iter().partition(|link| matches!(link.kind, Some(Virtual::Vlan { .. })));
        let mut made = Vec::new();
        for settings in others.into_iter().chain(vlans) {
            let (Some(kind), Some(name)) = (&settings.kind, &settings.matches.name) else { continue };
            if snapshot.link(name).is_some() {
                continue;
            }
            let parent = match kind {
                Virtual::Vlan { parent, .. } => match snapshot.links.iter().find(|link| parent.is(link)) {
                    Some(parent) => Some(parent.index),
                    // It was made a moment ago: the next look finds it.
                    None if made.contains(&parent.0) => {
                        self.sync_at = Some(self.synced);
                        continue;
                    }
                    None => {
                        errors
                            .push(format!("{name} waits for {}, which this machine does not have", parent.0));
                        continue;
                    }
                },
                Virtual::Bond { .. } | Virtual::Bridge { .. } => None,
            };
            let change = Change::Create { name: name.clone(), kind: kind.clone(), parent };
            match change.apply(&mut self.netlink) {
                Ok(()) => {
                    has_made = true;
                    made.push(name.clone());
                }
                Err(error) => errors.push(format!("cannot make {name}: {error}")),
            }
        }
        has_made
    }

    /// Switches links on and makes members belong where they should; tells whether anything changed.
    fn raise_links(
        &mut self,
        snapshot: &Snapshot,
        roles: &BTreeMap<u32, Role>,
        errors: &mut Vec<String>,
    ) -> bool {
        let mut changes: Vec<(String, Change)> = Vec::new();
        for link in &snapshot.links {
            let mut add = |change| changes.push((link.name.clone(), change));
            let Some(role) = roles.get(&link.index) else { continue };
            match role {
                Role::Member { controller, mtu } => {
                    let controller = snapshot.link(controller);
                    let index = controller.map(|controller| controller.index);
                    if let Some(mtu) = mtu.filter(|mtu| *mtu != link.mtu) {
                        add(Change::SetMtu(link.index, mtu));
                    }
                    if let Some(index) = index.filter(|index| link.controller != Some(*index)) {
                        // A bond takes only members that are off; it switches them on.
                        if link.is_up {
                            add(Change::SetUp(link.index, false));
                        }
                        add(Change::SetController(link.index, index));
                        add(Change::SetUp(link.index, true));
                        if self.is_primary(controller, link) {
                            add(Change::SetPrimary { bond: index, member: link.index });
                        }
                    }
                }
                Role::Managed(plan) => {
                    if !link.is_up {
                        let accept_ra = plan.accept_ra;
                        errors.extend(sysctl::apply(&link.name, accept_ra));
                    }
                    if let Some(mtu) = plan.mtu.filter(|mtu| *mtu != link.mtu) {
                        add(Change::SetMtu(link.index, mtu));
                    }
                }
                // Routers speak to VLANs on it, not to the link itself.
                Role::Parent if !link.is_up => errors.extend(sysctl::apply(&link.name, false)),
                Role::Parent => {}
            }
            if !link.is_up {
                add(Change::SetUp(link.index, true));
            }
        }
        let has_changed = !changes.is_empty();
        for (name, change) in changes {
            if let Err(error) = change.apply(&mut self.netlink) {
                errors.push(format!("{name}: {}: {error}", outcome::words(&change)));
            }
        }
        has_changed
    }

    fn is_primary(&self, bond: Option<&Link>, member: &Link) -> bool {
        let Some(bond) = bond else { return false };
        self.with.settings.links.iter().any(|settings| {
            settings.matches.name.as_deref() == Some(bond.name.as_str())
                && matches!(&settings.kind, Some(Virtual::Bond { primary: Some(primary), .. }) if primary.is(member))
        })
    }

    /// Starts, changes and ends what runs per link.
    fn update_runners(&mut self, snapshot: &Snapshot, roles: &BTreeMap<u32, Role>, now: Instant) {
        self.links.retain(|index, _| matches!(roles.get(index), Some(Role::Managed(_))));
        let leases = self.with.run.join("leases");
        for link in &snapshot.links {
            let Some(Role::Managed(plan)) = roles.get(&link.index) else { continue };
            let random = Random::from_seed(self.random.next_u64());
            let runner = self.links.entry(link.index).or_insert_with(|| {
                // A link that was on before this program began.
                sysctl::apply(&link.name, plan.accept_ra);
                LinkRunner::new(link, plan.clone(), &leases, random)
            });
            if runner.plan != *plan || runner.name != link.name || runner.has_other_mac(link) {
                let random = Random::from_seed(self.random.next_u64());
                *runner = LinkRunner::new(link, plan.clone(), &leases, random);
            }
            runner.update(link, self.with.settings.hostname.as_deref(), now);
        }
    }

    fn set_addresses(&mut self, snapshot: &Snapshot, now: Instant, errors: &mut Vec<String>) {
        let mut changes = Vec::new();
        for (index, runner) in &mut self.links {
            let actual: Vec<_> = snapshot.addresses_of(*index).collect();
            if let Some(address) = runner.lease6().and_then(|lease| lease.address)
                && actual.iter().any(|known| known.is_duplicate && known.net.address == address)
            {
                runner.is_duplicate(now);
            }
            let wanted = runner.wanted_addresses(now);
            changes.extend(reconcile::addresses(*index, &wanted, &actual, runner.plan.accept_ra));
            let stale = actual.iter().filter(|address| runner.is_stale(address, now));
            changes.extend(stale.map(|address| Change::RemoveAddress { link: *index, net: address.net }));
            runner.prefixes_are_checked(now);
            let has = snapshot.links.iter().find(|link| link.index == *index).map(|link| link.mtu);
            if let Some(mtu) = runner.wanted_mtu().filter(|wanted| has != Some(*wanted)) {
                changes.push(Change::SetMtu(*index, mtu));
            }
        }
        // Links that another config, before a restart, gave addresses to.
        for link in snapshot.links.iter().filter(|link| !self.links.contains_key(&link.index)) {
            let actual: Vec<_> = snapshot.addresses_of(link.index).collect();
            changes.extend(reconcile::addresses(link.index, &[], &actual, true));
        }
        self.apply(&changes, errors);
    }

    fn set_routes(&mut self, errors: &mut Vec<String>) -> io::Result<()> {
        let managed: Vec<(u32, bool)> =
            self.links.iter().map(|(index, runner)| (*index, runner.plan.accept_ra)).collect();
        let wanted: Vec<_> = self.links.values().flat_map(LinkRunner::wanted_routes).collect();
        let actual = Snapshot::routes(&mut self.netlink)?;
        let changes = reconcile::routes(&managed, &wanted, &actual);
        self.apply(&changes, errors);
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], errors: &mut Vec<String>) {
        for change in changes {
            let result = change.apply(&mut self.netlink);
            let name = outcome::link(change).and_then(|index| self.links.get(&index));
            let name = name.map_or("a link", |runner| runner.name.as_str());
            match result {
                Ok(()) => eprintln!("{name}: {}", outcome::words(change)),
                Err(error) => errors.push(format!("{name}: cannot {}: {error}", outcome::words(change))),
            }
        }
    }

    /// Writes `resolv.conf` and leases, sets the host name and says which NTP servers to ask.
    fn set_files(&mut self, now: Instant, errors: &mut Vec<String>) {
        let resolv = self.resolv();
        let text = resolv.render();
        for path in [self.with.run.join("resolv.conf"), self.with.resolv_conf.clone()] {
            if let Err(error) = resolv::write_whole(&path, &text) {
                errors.push(format!("cannot write {}: {error}", path.display()));
            }
        }
        for runner in self.links.values_mut() {
            runner.save();
            errors.extend(runner.error.iter().map(|error| format!("{}: {error}", runner.name)));
        }
        let settings = &self.with.settings;
        let names = if settings.ntp.is_empty() {
            let mut names: Vec<String> =
                self.links.values().flat_map(LinkRunner::ntp).map(|server| server.to_string()).collect();
            names.dedup();
            names
        } else {
            settings.ntp.clone()
        };
        self.with.ntp.set_servers(&names, now);
        if settings.hostname.is_some() {
            return;
        }
        let leased = self.links.values().filter_map(|runner| runner.lease4()?.hostname.as_deref());
        let name = leased.filter_map(hostname::usable).next().map(str::to_owned);
        if let Some(name) = name.filter(|name| self.hostname.as_ref() != Some(name)) {
            match self.with.hostname.set(&name) {
                Ok(()) => {
                    eprintln!("host name from DHCP: {name}");
                    self.hostname = Some(name);
                }
                Err(error) => errors.push(format!("cannot set the host name to {name}: {error}")),
            }
        }
    }

    /// DNS servers and domains: those of the config, then those of links in the order of their numbers.
    fn resolv(&self) -> Resolv {
        let mut resolv = Resolv::default();
        resolv.add(self.with.settings.dns.iter().copied(), "");
        resolv.add_search(self.with.settings.search.iter().map(String::as_str));
        for runner in self.links.values() {
            runner.add_dns(&mut resolv);
        }
        resolv
    }
}

/// The driver of a link by its name.
fn driver(link: &str) -> Option<String> {
    let target = std::fs::read_link(format!("/sys/class/net/{link}/device/driver")).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}
