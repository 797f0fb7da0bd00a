//! The host's X.509-SVID as client certificate, from a Workload API that gives another one later.

use std::sync::atomic::Ordering;

use crate::host::{Host, until, write_lines};
use crate::receiver::Receiver;
use crate::trust::{Members, Trust};
use crate::workload::Workload;

#[test]
fn the_svid_is_shown() {
    let (trust, members) = (Trust::new(), Members::new());
    let receiver = Receiver::tls(trust.server_for(&members));
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'tls://{}'\ntrust-bundle = '''{}'''\nidentity = true\n",
        receiver.address, trust.pem
    ));
    let workload = Workload::serve(&host.path("workload.sock"));
    write_lines(&host.log(), 0..10);
    host.start();
    until("it waits for an identity", || host.said().contains("no X.509-SVID for the service logs"));
    assert_eq!(receiver.connections(), 0, "nothing is sent without one");
    let first = members.svid();
    workload.give(first.clone());
    until("all lines", || receiver.lines().len() == 10);
    assert_eq!(*receiver.clients.lock().unwrap(), [first.x509_svid]);
    // The next connection shows what is the SVID then.
    let second = members.svid();
    workload.give(second.clone());
    std::thread::sleep(std::time::Duration::from_secs(1));
    receiver.manners.break_after.store(1, Ordering::Relaxed);
    write_lines(&host.log(), 10..11);
    until("it broke off", || host.figure("connected", "central") == 0);
    receiver.manners.break_after.store(0, Ordering::Relaxed);
    write_lines(&host.log(), 11..12);
    until("the second one was shown", || receiver.clients.lock().unwrap().last() == Some(&second.x509_svid));
    host.stop();
}

#[test]
fn what_is_sent_to_one_that_refuses_is_not_lost() {
    let (trust, members) = (Trust::new(), Members::new());
    let receiver = Receiver::tls(trust.server_for(&members));
    // Long enough for its kernel to confirm whatever has come by then.
    receiver.manners.looks_after_ms.store(300, Ordering::Relaxed);
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'tls://{}'\ntrust-bundle = '''{}'''\nidentity = true\n",
        receiver.address, trust.pem
    ));
    let workload = Workload::serve(&host.path("workload.sock"));
    workload.give(Members::new().svid());
    write_lines(&host.log(), 0..100);
    host.start();
    until("it is refused", || host.figure("retries_total", "central") > 2);
    assert_eq!(host.figure("sent_lines_total", "central"), 0, "{}", host.said());
    workload.give(members.svid());
    until("all lines", || receiver.texts().0.len() >= 100);
    assert_eq!(receiver.texts().0, (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>());
    host.stop();
}
