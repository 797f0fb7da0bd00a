//! The router as a process, with real sockets on every side: clients, instances, and a kubelet that speaks TLS, wants the
//! client certificate, and answers with a PodList.
//!
//! `pods.json` was written by Kubernetes' own types (k8s.io/api 0.37.2, `encoding/json` of a `core/v1.PodList`), as kubelet
//! does; the lists of these tests are made of its first pod. The certificates were made with openssl and are valid until
//! 2120. `LEPTON_TEST_ROUTE_CLIENT` names the program made of `images/boot-tests/go/route`, which judges the router with
//! clients, WebSockets and servers that are not ours; `cargo xtask test` makes it.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start programs and are told where they lie"
)]

#[path = "router/client.rs"]
mod client;
#[path = "router/foreign.rs"]
mod foreign;
#[path = "router/host.rs"]
mod host;
#[path = "router/instance.rs"]
mod instance;
#[path = "router/life.rs"]
mod life;
#[path = "router/protocols.rs"]
mod protocols;
#[path = "router/refusals.rs"]
mod refusals;
#[path = "router/removal.rs"]
mod removal;
#[path = "router/requests.rs"]
mod requests;
