//! The service with clients that are not ours: grpcurl by the published descriptions, openssl, promtool and Prometheus.
//!
//! `cargo xtask test` runs these. `LEPTON_TEST_MONITORING` names the tool tree that has openssl and Prometheus, and
//! `LEPTON_TEST_GRPCURL` grpcurl; what is missing is told, and left out.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../service/authority.rs"]
mod authority;
#[path = "../service/client.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod client;
mod grpc;
#[path = "../service/host.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod host;
#[path = "../service/methods.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod methods;
#[path = "../service/pid1.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod pid1;
#[path = "../../logs/tests/judges/running.rs"]
mod running;
mod scrape;
mod tls;
#[path = "../../logs/tests/judges/tools.rs"]
mod tools;
#[path = "../service/workload.rs"]
mod workload;

use std::path::{Path, PathBuf};
use std::process::Output;

use authority::{Authority, DOMAIN};
use host::Host;

/// A host, and the files of those who ask it.
struct Site {
    host: Host,
    operators: Authority,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let operators = Authority::new();
        let host = Host::start(&operators).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hosts.pem"), &host.authority.pem).unwrap();
        for role in ["reader", "operator", "admin"] {
            let pem = operators.client(&format!("spiffe://{DOMAIN}/role/{role}")).pem;
            std::fs::write(folder.path().join(format!("{role}.pem")), pem).unwrap();
        }
        Self { host, operators, folder }
    }

    /// What hosts are verified with.
    fn hosts(&self) -> PathBuf {
        self.path("hosts.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The published descriptions.
fn descriptions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("api/proto")
}

/// What a program said, on both of its outputs.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}
