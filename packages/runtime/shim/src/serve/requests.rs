//! What the runtime asks a shim for, one function each.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use rustix::pipe::{PipeFlags, pipe_with};

use super::container::{self, Container};
use super::oci::{Run, Task};
use super::streams::{Client, Streams, nonblocking};
use super::{Purpose, Shim};
use crate::connection;
use crate::log::Log;
use crate::protocol::{Create, Reply, Request};

impl Shim {
    /// Something came over a connection.
    pub(super) fn hear(&mut self, number: u64) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let open = match peer.incoming.fill(&peer.socket) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => false,
        };
        loop {
            let Some(peer) = self.peers.get_mut(&number) else { return };
            match peer.incoming.take::<Request>() {
                Ok(Some(request)) => {
                    let descriptors = peer.incoming.descriptors();
                    self.request(number, request, descriptors);
                }
                Ok(None) if open => return,
                Ok(None) | Err(_) => {
                    self.peers.remove(&number);
                    return;
                }
            }
        }
    }

    /// Answers; a runtime that does not listen any more has lost interest.
    pub(super) fn answer(&mut self, number: u64, reply: &Reply, descriptor: Option<OwnedFd>) {
        let Some(peer) = self.peers.get(&number) else { return };
        let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
        if connection::send(&peer.socket, reply, &descriptors).is_err() {
            self.peers.remove(&number);
        }
    }

    fn request(&mut self, peer: u64, request: Request, descriptors: VecDeque<OwnedFd>) {
        let reply = match request {
            Request::Create(order) => self.create(peer, order).map(|()| None),
            Request::Exec { container, process, tty } => {
                self.exec(peer, &container, &process, tty, descriptors).map(|()| None)
            }
            Request::Events => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.events = true;
                }
                Ok(Some(Reply::Done))
            }
            Request::State => Ok(Some(Reply::Containers {
                containers: self.containers.values().map(Container::state).collect(),
            })),
            other => self.simple(other, descriptors).map(|()| Some(Reply::Done)),
        };
        match reply {
            // Answered when the run ends.
            Ok(None) => {}
            Ok(Some(reply)) => self.answer(peer, &reply, None),
            Err(error) => self.answer(peer, &Reply::Failed { message: error.to_string() }, None),
        }
    }

    /// What is done at once.
    fn simple(&mut self, request: Request, mut descriptors: VecDeque<OwnedFd>) -> io::Result<()> {
        match request {
            Request::Start { container } => {
                let notify = self.pod.oci_state.join(&container).join("notify.sock");
                let container = self.container(&container)?;
                if container.started || !container.lives() {
                    return Err(io::Error::other("it was started before"));
                }
                // libcontainer's signal to go on; the first bytes are enough.
                let (_folder, name) = connection::short_name(&notify)?;
                let socket = std::os::unix::net::UnixStream::connect(name)?;
                io::Write::write_all(&mut &socket, b"start container")?;
                container.started = true;
                Ok(())
            }
            Request::Signal { container, signal } => self.container(&container)?.signal(signal),
            Request::Kill { container } => self.container(&container)?.kill(),
            Request::Resize { container, columns, rows } => self.container(&container)?.resize(columns, rows),
            Request::ReopenLog { container } => match &mut self.container(&container)?.streams.log {
                Some(log) => log.reopen(),
                None => Ok(()),
            },
            Request::SignalExec { pid, signal } => {
                if !self.execs.contains_key(&pid) {
                    return Ok(());
                }
                let pid =
                    rustix::process::Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process"))?;
                rustix::process::kill_process(pid, container::signal(signal)?).map_err(Into::into)
            }
            Request::Attach { container, stdin, stdout, stderr } => {
                let container = self.container(&container)?;
                if !container.lives() {
                    return Err(io::Error::other("it has ended"));
                }
                let mut next = |wanted: bool| if wanted { descriptors.pop_front() } else { None };
                let client = Client::new(next(stdin), [next(stdout), next(stderr)]);
                container.streams.attach(client)
            }
            Request::Remove { container } => {
                if self.containers.get(&container).is_some_and(Container::lives) {
                    return Err(io::Error::other("it has not ended"));
                }
                self.containers.remove(&container);
                Ok(())
            }
            Request::End => {
                if let Some(living) = self.containers.values().find(|container| container.lives()) {
                    return Err(io::Error::other(format!("container {} lives", living.order.container)));
                }
                self.over = true;
                Ok(())
            }
            Request::Create(_) | Request::Exec { .. } | Request::Events | Request::State => {
                Err(io::Error::other("it is not done at once"))
            }
        }
    }

    fn container(&mut self, id: &str) -> io::Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| io::Error::other(format!("no container {id}")))
    }

    fn create(&mut self, peer: u64, order: Create) -> io::Result<()> {
        if self.containers.contains_key(&order.container) {
            return Err(io::Error::other(format!("container {} is there already", order.container)));
        }
        let log =
            match &order.log {
                Some(path) => {
                    let log = Log::open(path).and_then(|mut log| {
                        order.log_limit.map_or(Ok(()), |bytes| log.limit(bytes)).map(|()| log)
                    });
                    Some(log.map_err(|error| {
                        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                    })?)
                }
                None => None,
            };
        let mut streams = Streams::new(log, order.stdin_once, order.tty);
        let stdio = if order.tty { None } else { Some(pipes(&mut streams, order.stdin)?) };
        let task = Task::Create { container: &order.container, bundle: &order.bundle };
        let run = Run::start(&self.pod, &task, stdio)?;
        let id = order.container.clone();
        self.containers.insert(id.clone(), Container::new(order, streams));
        self.runs.push((run, peer, Purpose::Create(id)));
        Ok(())
    }

    fn exec(
        &mut self,
        peer: u64,
        container: &str,
        process: &Path,
        tty: bool,
        mut descriptors: VecDeque<OwnedFd>,
    ) -> io::Result<()> {
        let bundle = self.container(container)?.order.bundle.clone();
        let stdio = if tty {
            None
        } else {
            let mut next = || descriptors.pop_front().map_or_else(Stdio::null, Stdio::from);
            Some([next(), next(), next()])
        };
        let task = Task::Exec { container, bundle: &bundle, process };
        let run = Run::start(&self.pod, &task, stdio)?;
        self.runs.push((run, peer, Purpose::Exec));
        Ok(())
    }

    /// The container maker ended.
    pub(super) fn made(&mut self, run: Run, peer: u64, purpose: Purpose) {
        let result = run.finish().and_then(|(pid, terminal)| {
            let raw = pid.as_raw_nonzero().get();
            match &purpose {
                Purpose::Create(id) => {
                    let container = self.container(id)?;
                    container.created(pid)?;
                    if let Some(terminal) = terminal {
                        nonblocking(&terminal)?;
                        container.streams.input = Some(terminal.try_clone()?);
                        container.streams.outputs[0] = Some(terminal);
                    }
                    Ok((raw, None))
                }
                Purpose::Exec => {
                    self.execs.insert(raw, peer);
                    Ok((raw, terminal))
                }
            }
        });
        match result {
            Ok((pid, terminal)) => {
                self.answer(peer, &Reply::Running { pid }, terminal);
                if let Some(status) = self.ended.remove(&pid) {
                    self.ends(pid, status);
                }
            }
            Err(error) => {
                if let Purpose::Create(id) = &purpose
                    && let Some(container) = self.containers.remove(id)
                {
                    let _ = container.kill();
                    self.cgroups.push(container.order.cgroup.clone());
                }
                self.answer(peer, &Reply::Failed { message: error.to_string() }, None);
            }
        }
    }
}

/// Pipes for a container without a terminal; its ends are given back.
fn pipes(streams: &mut Streams, stdin: bool) -> io::Result<[Stdio; 3]> {
    let mut output = |place: usize| -> io::Result<Stdio> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        nonblocking(&read)?;
        streams.outputs[place] = Some(read);
        Ok(write.into())
    };
    let (stdout, stderr) = (output(0)?, output(1)?);
    let stdin = if stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        nonblocking(&write)?;
        streams.input = Some(write);
        read.into()
    } else {
        Stdio::null()
    };
    Ok([stdin, stdout, stderr])
}
