"""The options that k3s knows, as names without dashes: it skips an unknown one with no more than a warning.

Sources: https://docs.k3s.io/cli/agent and https://docs.k3s.io/cli/server, and k3s's pkg/cli/cmds/agent.go
and server.go. Deprecated options are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

AGENT = frozenset(
    "airgap-extra-registry alsologtostderr bind-address container-runtime-endpoint data-dir debug "
    "default-runtime disable-apiserver-lb disable-default-registry-endpoint docker enable-pprof "
    "flannel-cni-conf flannel-conf flannel-iface image-credential-provider-bin-dir "
    "image-credential-provider-config image-service-endpoint kube-proxy-arg lb-server-port log "
    "node-external-dns node-external-ip node-internal-dns node-ip nonroot-devices pause-image "
    "prefer-bundled-bin private-registry protect-kernel-defaults resolv-conf rootless selinux "
    "snapshotter v vmodule vpn-auth-file".split()
)
"""What an agent may be told by a flag."""

CRITICAL = frozenset(
    "cluster-cidr cluster-dns cluster-domain disable disable-cloud-controller disable-helm-controller "
    "disable-network-policy egress-selector-mode embedded-registry flannel-backend flannel-external-ip "
    "flannel-ipv6-masq secrets-encryption secrets-encryption-provider service-cidr".split()
)
"""What all servers must agree on, or none that differs joins (docs.k3s.io/cli/server, critical values).

Of `disable` that holds for servicelb only; but lists replace each other, and a server that names another
component would drop it.
"""

_OF_SERVERS = frozenset(
    "advertise-address advertise-port datastore-cafile datastore-certfile datastore-keyfile "
    "default-local-storage-path disable-agent disable-apiserver disable-controller-manager disable-etcd "
    "disable-kube-proxy disable-scheduler etcd-arg etcd-disable-snapshots etcd-expose-metrics etcd-s3 "
    "etcd-s3-bucket etcd-s3-config-secret etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder "
    "etcd-s3-insecure etcd-s3-proxy etcd-s3-region etcd-s3-skip-ssl-verify etcd-s3-timeout "
    "etcd-snapshot-compress etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-retention "
    "etcd-snapshot-schedule-cron helm-job-image https-listen-port kube-apiserver-arg "
    "kube-cloud-controller-manager-arg kube-controller-manager-arg kube-scheduler-arg "
    "service-node-port-range servicelb-namespace supervisor-metrics system-default-registry tls-san "
    "tls-san-security write-kubeconfig write-kubeconfig-group write-kubeconfig-mode".split()
)
SERVER = (AGENT - {"disable-apiserver-lb"}) | CRITICAL | _OF_SERVERS
"""What a server may be told by a flag; it runs an agent too."""

_SECRET = "it is a secret, and flags are for everyone to read"  # noqa: S105 - a reason, no password
_FOUNDS = "it makes a new cluster, which no card may"

ELSEWHERE: Mapping[str, str] = {
    "agent-token": "say agent_token: true in cluster.yaml, and keep it with the secrets as extra.agent_token",
    "agent-token-file": "say agent_token: true in cluster.yaml, and keep it with the secrets",
    "cluster-init": _FOUNDS,
    "cluster-reset": _FOUNDS,
    "cluster-reset-restore-path": _FOUNDS,
    "config": "the file is always /etc/rancher/k3s/config.yaml",
    "datastore-endpoint": "it may hold a password: say datastore: external in cluster.yaml, and keep it "
    "with the secrets as extra.datastore_endpoint",
    "etcd-s3-access-key": _SECRET,
    "etcd-s3-secret-key": _SECRET,
    "etcd-s3-session-token": _SECRET,
    "kubelet-arg": "say it with k3s.kubelet_args",
    "node-label": "say it with k3s.labels",
    "node-name": "it is the host name",
    "node-taint": "say it with k3s.taints",
    "server": "say it with k3s.server",
    "token": "it comes from the secrets",
    "token-file": "it comes from the secrets",
    "vpn-auth": _SECRET,
    "with-node-id": "the node would come back under another name",
}
"""Options of k3s that no flag may set, and why."""
