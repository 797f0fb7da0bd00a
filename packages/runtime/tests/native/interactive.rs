//! `lepton-ctr run -i -t`: input, a terminal and its size go to a new container, and nothing that it writes is lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::ctr::{command, ctr, done, nothing_is_left, wait};
use crate::host::Host;
use crate::image;

pub(crate) const ALL: &[Scenario] = &[
    ("ctr_run_passes_input_on", pipes),
    ("ctr_run_has_a_terminal", terminal),
    ("ctr_run_says_when_it_is_cut_off", cut_off),
];

/// The words of a run in the host's network.
fn words<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "host"], options, &[image::NAME, "sh", "-c", script]].concat()
}

fn pipes(_: &Runtime, host: &mut Host) {
    // More than pipes and windows hold, there and back, and the end of the input.
    let much: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let mut run = command(host, &words(&["-i", "--rm"], "cat; echo bad >&2; exit 7"));
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut input = run.stdin.take().unwrap();
    let typed = much.clone();
    let typing = std::thread::spawn(move || input.write_all(typed.as_bytes()).unwrap());
    let output = run.wait_with_output().unwrap();
    typing.join().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(7), "bad\n"));
    assert!(output.stdout == much.as_bytes(), "{} bytes came back", output.stdout.len());
    nothing_is_left(host);
    // What is written at once, before anybody could attach to a container that runs.
    for _ in 0..10 {
        assert_eq!(
            ctr(host, &words(&["-i", "--rm"], "echo first")),
            (0, "first\n".to_owned(), String::new())
        );
    }
    // A slow reader gets everything, also what the container wrote last.
    let mut slow = command(host, &words(&["-i", "--rm"], "busybox seq 1 100000; exit 3"));
    let mut slow = slow.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let mut text = String::new();
    slow.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let last = text.lines().last().map(str::to_owned);
    assert_eq!((text.lines().count(), last.as_deref()), (100_000, Some("100000")));
    assert_eq!(slow.wait().unwrap().code(), Some(3));
    nothing_is_left(host);

    let (code, _, errors) =
        ctr(host, &["run", "-i", "--rm", "--network", "host", image::NAME, "no-such-program"]);
    assert!(code == 125 && errors.contains("executable file not found"), "{code} {errors}");
    let (code, _, errors) = ctr(host, &["run", "-d", "-i", image::NAME]);
    assert!(code == 2 && errors.contains("leave -d out"), "{code} {errors}");
    nothing_is_left(host);
}

/// A terminal of this test, and what was written to it.
struct Pty {
    ours: File,
    theirs: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).unwrap();
        let ours = File::from(ours);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (mut from, into) = (ours.try_clone().unwrap(), written.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                into.lock().unwrap().extend_from_slice(&chunk[..count]);
            }
        });
        Self { ours, theirs, written }
    }

    fn size(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    fn start(&self, host: &Host, words: &[&str]) -> Child {
        let end = || Stdio::from(self.theirs.try_clone().unwrap());
        command(host, words).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    fn type_in(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    fn shows(&self, text: &str) {
        wait(&format!("it does not show {text:?}"), || self.text().contains(text));
    }
}

fn terminal(_: &Runtime, host: &mut Host) {
    let mut pty = Pty::new();
    pty.size(100, 30);
    let before = tcgetattr(&pty.theirs).unwrap();
    let script = "test -t 0 && test -t 2 && busybox stty size; while read word; do test $word = end && exit 9; busybox stty size; done";
    let mut run = pty.start(host, &words(&["-it", "--name", "shell"], script));
    pty.shows("30 100\r\n");
    pty.size(132, 50);
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    // The size and what is typed go different ways.
    wait("the window does not change", || {
        pty.type_in("again\n");
        std::thread::sleep(Duration::from_millis(50));
        pty.text().contains("50 132\r\n")
    });
    pty.type_in("end\n");
    assert_eq!(run.wait().unwrap().code(), Some(9));
    // As it was: it shows again what is typed.
    let after = tcgetattr(&pty.theirs).unwrap();
    assert_eq!((after.local_modes, after.input_modes), (before.local_modes, before.input_modes));
    // It is kept until it is removed, and so is its log.
    assert!(done(host, &["ps", "-a"]).contains("exited (9)"));
    assert!(done(host, &["logs", "shell"]).contains("50 132"));
    done(host, &["rm", "shell"]);

    // Ctrl-C is the container's.
    let mut pty = Pty::new();
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let mut run = pty.start(host, &words(&["--rm", "-t", "-i"], script));
    pty.shows("ready\r\n");
    pty.type_in("\u{3}");
    assert_eq!(run.wait().unwrap().code(), Some(4));
    pty.shows("caught\r\n");
    // SIGTERM stops it, with its stop signal.
    let script = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let pty = Pty::new();
    let mut run = pty.start(host, &words(&["--rm", "-it"], script));
    pty.shows("ready\r\n");
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(5));
    pty.shows("asked\r\n");
    nothing_is_left(host);
}

/// The runtime goes away: the container does not, and the caller is told so.
fn cut_off(_: &Runtime, host: &mut Host) {
    let mut run = command(host, &words(&["-i", "--name", "left"], "echo ready; sleep 1000"));
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut first = [0; 6];
    run.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"ready\n");
    host.kill();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(125) && errors.contains("left broke, and it goes on"), "{errors}");
    host.start();
    assert!(done(host, &["ps"]).contains("left"));
    done(host, &["rm", "-f", "left"]);
    nothing_is_left(host);
}
