//! Instances come and go under load, and no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;

use crate::client::{self, Client, get, request};
use crate::host::{Host, pod, unready};
use crate::instance::Instance;

/// What kubelet runs as preStop between forgetting a pod and ending it.
const PRE_STOP: Duration = Duration::from_secs(2);

/// Clients that keep their connections and send requests of several kinds until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: tokio::task::JoinSet<Vec<String>>,
}

impl Load {
    fn start(address: std::net::SocketAddr, clients: usize) -> Self {
        let mut load =
            Self { stop: Arc::default(), done: Arc::default(), tasks: tokio::task::JoinSet::new() };
        for number in 0..clients {
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            load.tasks.spawn(async move {
                let mut failures = Vec::new();
                let mut client = Client::connect(address).await.unwrap();
                for turn in number.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let path = if turn % 5 == 0 { "/slow" } else { "/count" };
                    let mut asked = request("app.example", path);
                    if path == "/count" && turn % 2 == 0 {
                        *asked.method_mut() = Method::POST;
                        *asked.body_mut() = client::Body::from("some text");
                    }
                    match client.send(asked).await {
                        Ok(answer) if answer.status == 200 => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        other => {
                            failures.push(format!("{turn} {path}: {other:?}"));
                            client = Client::connect(address).await.unwrap();
                        }
                    }
                }
                failures
            });
        }
        load
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.join_all().await.concat()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_instances_come_and_go() {
    let host = Host::new("").await;
    let mut instances =
        vec![("i0".to_owned(), Instance::new("i0").await), ("i1".to_owned(), Instance::new("i1").await)];
    let list = |instances: &[(String, Instance)]| -> Vec<_> {
        instances.iter().map(|(name, it)| pod(name, "app.example", it.address)).collect()
    };
    host.kubelet.set(list(&instances));
    host.wait_for("app.example", 200).await;
    let load = Load::start(host.address, 8);
    for number in 2..6 {
        let new = Instance::new("more").await;
        instances.push((format!("i{number}"), new));
        host.kubelet.set(list(&instances));
        let (name, old) = instances.remove(0);
        // The new one has had requests before the old one goes, and kubelet forgets that before it ends it.
        while instances.last().unwrap().1.answered() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        host.kubelet.set(list(&instances));
        tokio::time::sleep(PRE_STOP).await;
        let at_stop = old.answered();
        old.stop();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(old.answered(), at_stop, "{name} was asked although it was to end");
    }
    let done = load.done();
    let failures = load.end().await;
    assert!(
        failures.is_empty(),
        "{} of {done} failed: {:?}\n{}",
        failures.len(),
        &failures[..failures.len().min(5)],
        host.log()
    );
    assert!(done > 100, "{done} requests are no load");
    println!("{done} requests while 4 instances were replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kubelet_the_table_stays() {
    let mut host = Host::new("").await;
    let (one, two) = (Instance::new("one").await, Instance::new("two").await);
    let both = [pod("one", "app.example", one.address), pod("two", "app.example", two.address)];
    host.kubelet.set(both.clone());
    host.wait_for("app.example", 200).await;
    let load = Load::start(host.address, 4);
    host.kubelet.stop().await;
    host.wait_for_log("routes stay as they are").await;
    // One goes without anybody saying so: requests go to the other.
    one.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = (one.answered(), load.done());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.answered(), before.0);
    assert!(load.done() > before.1);
    // A kubelet that has just started knows its pods, but not how they are.
    host.kubelet.set(both.clone().map(unready));
    host.kubelet.start().await;
    host.wait_for_log("kubelet answers again").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.kubelet.set(both);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let failures = load.end().await;
    // Requests that had been sent to the one that went may be lost when they cannot be repeated.
    let gets = failures.iter().filter(|failure| !failure.contains("502")).count();
    assert_eq!(gets, 0, "{failures:?}\n{}", host.log());
    assert!(failures.len() <= 4, "{failures:?}");
    assert_eq!(get(host.address, "app.example", "/who").await.text(), "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_may_come_later() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    host.set_credentials(false);
    host.kubelet.set([]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(get(host.address, "app.example", "/who").await.text(), "one", "nobody can be asked");
    host.set_credentials(true);
    host.wait_for("app.example", 503).await;
}
