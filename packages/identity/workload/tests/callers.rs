//! Callers that are not who they seem to be: other users, other programs, dead processes, containers. This program is the
//! clients, too. Some cases need root, or a cgroup v2 hierarchy that can be written to; they say so when they are left out.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a test; it starts itself as a client, and reports by itself"
)]

mod callers {
    pub(crate) mod children;
    pub(crate) mod cri;
    pub(crate) mod kubelet;
    pub(crate) mod pods;
    pub(crate) mod processes;
    pub(crate) mod services;
}
mod support;

use std::process::ExitCode;
use std::time::Duration;

use callers::{children, pods, processes, services};
use tokio::runtime::{Builder, Runtime};

/// How a case went.
type Outcome = Result<(), Left>;
/// A name and what it does.
type Case = (&'static str, fn(&Runtime) -> Outcome);

/// Why a case was left out.
#[derive(Debug)]
pub(crate) struct Left(&'static str);

/// No case takes longer.
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == children::CHILD) {
        return children::run(&arguments[1..]);
    }
    let cases: [Case; 17] = [
        ("a process of the host", processes::host),
        ("another user", processes::other_user),
        ("a process that became another user", processes::became_another_user),
        ("users of a container", processes::own_users),
        ("processes of a container", processes::own_processes),
        ("mounts of a container", processes::own_mounts),
        ("another program by exec", processes::exec),
        ("a child that speaks for its parent's new program", processes::exec_with_child),
        ("a program under a path of others", processes::path),
        ("a child of a dead process", processes::orphan),
        ("an open stream of a dead process", processes::stream_of_the_dead),
        ("a number that came to mean another process", processes::reused_number),
        ("a service, and its program outside of it", services::service),
        ("services that PID 1 does not know", services::unknown),
        ("a service that is told of new files", services::reload),
        ("a pod", pods::pod),
        ("pods that nobody knows", pods::unknown),
    ];
    // A hanging case must not hang the test.
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        println!("hangs");
        std::process::exit(1);
    });
    let only = arguments.iter().find(|it| !it.starts_with('-'));
    let mut failed = false;
    for (name, case) in cases {
        if only.is_some_and(|only| !name.contains(&**only)) {
            continue;
        }
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let result = std::panic::catch_unwind(|| case(&runtime));
        match result {
            Ok(Ok(())) => println!("{name}: ok"),
            Ok(Err(Left(why))) => println!("{name}: left out, {why}"),
            Err(_) => {
                println!("{name}: failed");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
