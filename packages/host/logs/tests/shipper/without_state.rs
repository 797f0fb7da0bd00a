//! A host without a state partition: PID 1 keeps its logs in memory, and the program follows them at its socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Host, until};
use crate::receiver::Receiver;

/// Lines of a log, with their milliseconds.
type Lines = Vec<(u64, String)>;

/// PID 1, as far as it is asked: logs by name, each with its lines.
#[derive(Clone, Default)]
struct Init {
    logs: Arc<Mutex<Vec<(String, Lines)>>>,
    /// Connections that follow a log are cut when this changes.
    cuts: Arc<AtomicUsize>,
    /// Logs that were asked for, each with the number of the first line.
    asked: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Init {
    fn say(&self, log: &str, ms: u64, text: &str) {
        let mut logs = self.logs.lock().unwrap();
        if logs.iter().all(|(name, _)| name != log) {
            logs.push((log.to_owned(), Vec::new()));
        }
        let (_, lines) = logs.iter_mut().find(|(name, _)| name == log).unwrap();
        lines.push((ms, text.to_owned()));
    }

    fn start(&self, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        let init = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let init = init.clone();
                thread::spawn(move || init.serve(stream));
            }
        });
    }

    fn serve(&self, mut stream: UnixStream) -> Option<()> {
        let mut line = String::new();
        BufReader::new(stream.try_clone().ok()?).read_line(&mut line).ok()?;
        let message: Value = serde_json::from_str(&line).unwrap();
        let request = &message["request"];
        let mut answer = |value: Value| stream.write_all(format!("{value}\n").as_bytes()).ok();
        if request == "status" {
            return answer(json!({"status": {
                "image": null, "version": null, "arch": "x86_64", "kernel": "6", "phase": "ready", "uptime-ms": 1,
                "ready-ms": 1, "hostname": "h", "addresses": [], "state": {"device": null, "filesystem": "tmpfs"},
                "config": {"sources": [], "errors": []}, "memory": null, "services": []
            }}));
        }
        if request == "services" {
            let names: Vec<String> = self.logs.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
            let services: Vec<Value> = names
                .into_iter()
                .filter(|name| name != "kernel")
                .map(|name| {
                    json!({"name": name, "state": "ready", "text": null, "pid": 1, "starts": 1, "last-end": null,
                        "for-ms": 1, "memory-kb": null, "tasks": null, "dropped-lines": 0})
                })
                .collect();
            return answer(json!({ "services": services }));
        }
        let name = request["logs"]["name"]["service"].as_str().unwrap_or("kernel").to_owned();
        assert_eq!(request["logs"]["follow"], true);
        let from = request["logs"]["from"].as_u64().unwrap_or(0);
        self.asked.lock().unwrap().push((name.clone(), from));
        let (mut next, cuts) = (usize::try_from(from).unwrap(), self.cuts.load(Ordering::Relaxed));
        while self.cuts.load(Ordering::Relaxed) == cuts {
            let lines: Lines = {
                let logs = self.logs.lock().unwrap();
                let log = logs.iter().find(|(of, _)| *of == name);
                log.map(|(_, lines)| lines[next..].to_vec()).unwrap_or_default()
            };
            for (ms, text) in lines {
                answer(json!({"line": {"number": next, "ms": ms, "text": text}}))?;
                next += 1;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Some(())
    }
}

#[test]
fn logs_of_pid_1_come_once() {
    let receiver = Receiver::tcp();
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n\
         [[containers]]\nname = 'db'\nimage = 'registry.example/db:1'\n",
        receiver.address
    ));
    let init = Init::default();
    for ms in 0..50 {
        init.say("kernel", ms / 5, &format!("k{ms}"));
        init.say("network", ms, &format!("n{ms}"));
    }
    // The container's own lines are in its own log.
    init.say("db", 1, "hello");
    init.say("db", 2, "lepton-ctr: the container ended with code 1 (Error)");
    init.start(&host.path("control.sock"));
    host.start();
    until("all lines", || receiver.texts().0.len() == 101);
    // PID 1 cuts the connections; the program asks again.
    init.cuts.fetch_add(1, Ordering::Relaxed);
    init.say("kernel", 10, "k50");
    until("one more", || receiver.texts().0.len() == 102);
    // Nothing is sent to it again that it has.
    assert!(init.asked.lock().unwrap().contains(&("kernel".to_owned(), 50)));
    // The program is killed; lines come meanwhile.
    until("they are confirmed", || host.figure("sent_lines_total", "central") == 102);
    host.kill();
    init.say("network", 49, "n50");
    init.say("late", 60, "l0");
    host.start();
    until("two more", || receiver.texts().0.len() == 104);
    thread::sleep(Duration::from_millis(500));
    let mut texts = receiver.texts().0;
    texts.sort();
    let mut expected: Vec<String> = (0..51).flat_map(|n| [format!("k{n}"), format!("n{n}")]).collect();
    expected.extend(["l0".to_owned(), "lepton-ctr: the container ended with code 1 (Error)".to_owned()]);
    expected.sort();
    assert_eq!(texts, expected);
    host.stop();
}
