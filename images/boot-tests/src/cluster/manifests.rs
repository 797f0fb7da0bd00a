//! What a cluster needs before it is of use: how nodes may join, service addresses (kube-proxy) and names (CoreDNS).

/// The registry that images of the cluster come from.
pub const REGISTRY: &str = "192.0.2.1:5000";

/// The bootstrap token, and what whoever has it may do: ask for a node's certificate, which is given at once.
pub(super) fn joining(token: &str) -> String {
    let (id, secret) = token.split_once('.').unwrap_or((token, ""));
    let grant = |name: &str, role: &str, group: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: '{name}'}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '{role}'}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: '{group}'}}]\n"
        )
    };
    let csr = "system:certificates.k8s.io:certificatesigningrequests";
    [
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: bootstrap-token-{id}, namespace: kube-system}}\n\
             type: bootstrap.kubernetes.io/token\n\
             stringData: {{token-id: '{id}', token-secret: '{secret}', usage-bootstrap-authentication: 'true'}}\n"
        ),
        grant("nodes-ask", "system:node-bootstrapper", "system:bootstrappers"),
        grant("nodes-join", &format!("{csr}:nodeclient"), "system:bootstrappers"),
        grant("nodes-renew", &format!("{csr}:selfnodeclient"), "system:nodes"),
    ]
    .concat()
}

/// kube-proxy on every node. It reaches the API server by its address, because services have none without kube-proxy.
pub(super) const KUBE_PROXY: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: kube-proxy, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:node-proxier'}
subjects: [{kind: ServiceAccount, name: kube-proxy, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  config.yaml: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: nftables
    clusterCIDR: 10.244.0.0/16
    clientConnection: {kubeconfig: /etc/kube-proxy/kubeconfig}
    conntrack: {maxPerCore: 0}
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters:
    - name: lepton
      cluster:
        server: https://192.0.2.1:6443
        certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    users:
    - name: pod
      user: {tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}
    contexts:
    - name: lepton
      context: {cluster: lepton, user: pod}
    current-context: lepton
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-proxy, namespace: kube-system, labels: {k8s-app: kube-proxy}}
spec:
  selector: {matchLabels: {k8s-app: kube-proxy}}
  template:
    metadata: {labels: {k8s-app: kube-proxy}}
    spec:
      hostNetwork: true
      priorityClassName: system-node-critical
      serviceAccountName: kube-proxy
      tolerations: [{operator: Exists}]
      containers:
      - name: kube-proxy
        image: 192.0.2.1:5000/kube-proxy:1
        command: [/usr/bin/kube-proxy, --config=/etc/kube-proxy/config.yaml, '--hostname-override=$(NODE)']
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        securityContext: {privileged: true}
        volumeMounts: [{name: config, mountPath: /etc/kube-proxy}]
      volumes: [{name: config, configMap: {name: kube-proxy}}]
"#;

/// metrics-server, for `kubectl top`.
pub(super) const METRICS: &str = include_str!("metrics.yaml");

/// CoreDNS for names of the cluster. There is nothing that it could ask for others.
pub(super) const COREDNS: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: 'system:coredns'}
rules:
- {apiGroups: [''], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'system:coredns'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:coredns'}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods insecure
        }
        cache 30
    }
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      priorityClassName: system-cluster-critical
      serviceAccountName: coredns
      dnsPolicy: Default
      containers:
      - name: coredns
        image: 192.0.2.1:5000/coredns:1
        command: [/usr/bin/coredns, -conf, /etc/coredns/Corefile]
        readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 5, timeoutSeconds: 5}
        volumeMounts: [{name: config, mountPath: /etc/coredns}]
      volumes: [{name: config, configMap: {name: coredns}}]
"#;
