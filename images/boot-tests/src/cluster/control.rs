//! The control plane: etcd, the API server, the controller manager and the scheduler, as processes of this machine in the
//! cluster's network.

use std::path::Path;

use lepton_builder::sandbox::Sandbox;

use super::daemon::Daemon;
use super::field::{Field, SERVER};
use super::{ClusterError, Setup};

/// Addresses of services and of pods.
pub(super) const SERVICES: &str = "10.96.0.0/16";
pub(super) const PODS: &str = "10.244.0.0/16";
/// The cluster's DNS service.
pub(crate) const DNS: &str = "10.96.0.10";

/// Where things lie in the sandboxes.
const PROGRAMS: &str = "/programs";
const PKI: &str = "/pki";
const DATA: &str = "/data";

/// The processes.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) etcd: Daemon,
    pub(crate) api: Daemon,
    pub(crate) controllers: Daemon,
    pub(crate) scheduler: Daemon,
    pub(crate) registry: Daemon,
}

impl Control {
    /// Starts them; keys are in `pki`, data and logs go to `data`.
    pub(super) fn start(setup: &Setup, field: &Field, pki: &Path, data: &Path) -> Result<Self, ClusterError> {
        let kubernetes = |name: &str| {
            let sandbox = field.sandbox(&setup.tools, &format!("{PROGRAMS}/{name}"));
            sandbox.read_only(&setup.programs.kubernetes, PROGRAMS).read_only(pki, PKI)
        };
        let etcd = field
            .sandbox(&setup.tools, "/programs/etcd")
            .read_only(&setup.programs.etcd, "/programs/etcd")
            .writable(data, DATA)
            .args(ETCD);
        let mut registry =
            field.sandbox(&setup.tools, "python3").args(["-uc", include_str!("registry.py"), SERVER, "5000"]);
        for (index, folder) in setup.registry.iter().enumerate() {
            let place = format!("/registry/{index}");
            registry = registry.read_only(folder, &place).arg(place);
        }
        let start = |name, sandbox: Sandbox| Daemon::start(name, sandbox, data);
        Ok(Self {
            etcd: start("etcd", etcd)?,
            registry: start("registry", registry)?,
            api: start("kube-apiserver", kubernetes("kube-apiserver").args(api_server()))?,
            controllers: start(
                "kube-controller-manager",
                kubernetes("kube-controller-manager").args(controller_manager()),
            )?,
            scheduler: start("kube-scheduler", kubernetes("kube-scheduler").args(SCHEDULER))?,
        })
    }

    /// Fails when one of them has ended by itself. The controller manager and the scheduler end when the API server is
    /// away for long, and are started again.
    pub(crate) fn check(&mut self) -> Result<(), ClusterError> {
        for daemon in [&mut self.etcd, &mut self.registry, &mut self.api] {
            daemon.check()?;
        }
        for daemon in [&mut self.controllers, &mut self.scheduler] {
            if daemon.check().is_err() {
                daemon.stop();
                daemon.start_again()?;
            }
        }
        Ok(())
    }
}

/// A cluster lives as long as its machine's processes, so nothing has to reach the disk.
const ETCD: [&str; 9] = [
    "--name=lepton",
    "--data-dir=/data/etcd",
    "--unsafe-no-fsync",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=lepton=http://127.0.0.1:2380",
    "--log-level=warn",
];

fn api_server() -> Vec<String> {
    [
        "--etcd-servers=http://127.0.0.1:2379",
        "--advertise-address=192.0.2.1",
        "--secure-port=6443",
        "--tls-cert-file=/pki/server.pem",
        "--tls-private-key-file=/pki/server.key",
        "--client-ca-file=/pki/ca.pem",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-signing-key-file=/pki/service-accounts.key",
        "--service-account-key-file=/pki/service-accounts.pub",
        // Nodes' serving certificates are checked, as the nodes check this one.
        "--kubelet-certificate-authority=/pki/ca.pem",
        "--kubelet-client-certificate=/pki/kubelet-client.pem",
        "--kubelet-client-key=/pki/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--requestheader-client-ca-file=/pki/front-proxy-ca.pem",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--proxy-client-cert-file=/pki/front-proxy-client.pem",
        "--proxy-client-key-file=/pki/front-proxy-client.key",
        // There is no kube-proxy on this machine, so services are called at the addresses of their pods.
        "--enable-aggregator-routing=true",
        "--profiling=false",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("--service-cluster-ip-range={SERVICES}")])
    .collect()
}

fn controller_manager() -> Vec<String> {
    [
        "--kubeconfig=/pki/kube-controller-manager.kubeconfig",
        "--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
        "--use-service-account-credentials=true",
        "--service-account-private-key-file=/pki/service-accounts.key",
        "--root-ca-file=/pki/ca.pem",
        "--cluster-signing-cert-file=/pki/ca.pem",
        "--cluster-signing-key-file=/pki/ca.key",
        "--allocate-node-cidrs=true",
        "--leader-elect=false",
        "--cert-dir=/tmp",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("--cluster-cidr={PODS}"), format!("--service-cluster-ip-range={SERVICES}")])
    .collect()
}

const SCHEDULER: [&str; 3] =
    ["--kubeconfig=/pki/kube-scheduler.kubeconfig", "--leader-elect=false", "--cert-dir=/tmp"];
