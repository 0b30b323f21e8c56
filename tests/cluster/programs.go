// The node's programs with their flags, in the order they start.
package main

import "strconv"

// nodePrograms returns groups of programs; each group needs the one before it to be ready.
func (c *Cluster) nodePrograms() [][]Program {
	bin, pki, etc := c.Bin, c.pki, c.Etc
	loopback := func(scheme string, port int, path string) string {
		return scheme + "://127.0.0.1:" + strconv.Itoa(port) + path
	}
	return [][]Program{
		{
			{
				Name: "etcd",
				Args: []string{bin("etcd"),
					"--name=" + nodeName,
					"--data-dir=/var/lib/etcd",
					"--listen-client-urls=http://127.0.0.1:2379",
					"--advertise-client-urls=http://127.0.0.1:2379",
					"--listen-peer-urls=http://127.0.0.1:2380",
					"--initial-advertise-peer-urls=http://127.0.0.1:2380",
					"--initial-cluster=" + nodeName + "=http://127.0.0.1:2380",
					"--unsafe-no-fsync", // only a crash of the whole machine could lose data
					"--quota-backend-bytes=8589934592",
					"--auto-compaction-mode=periodic",
					"--auto-compaction-retention=5m",
				},
				Ready: loopback("http", 2379, "/readyz"),
			},
			{
				Name:  "containerd",
				Args:  []string{c.path("debian", "usr", "bin", "containerd"), "--config", etc("containerd.toml")},
				Ready: "unix:/run/containerd/containerd.sock",
			},
		},
		{{
			Name: "kube-apiserver",
			Args: []string{bin("kube-apiserver"),
				"--etcd-servers=http://127.0.0.1:2379",
				"--secure-port=6443",
				"--advertise-address=" + c.Net.Node.String(),
				"--service-cluster-ip-range=" + c.Net.Services.String(),
				"--tls-cert-file=" + pki("apiserver.crt"),
				"--tls-private-key-file=" + pki("apiserver.key"),
				"--client-ca-file=" + pki("ca.crt"),
				"--service-account-issuer=https://kubernetes.default.svc",
				"--service-account-key-file=" + pki("service-account.key"),
				"--service-account-signing-key-file=" + pki("service-account.key"),
				"--authorization-mode=Node,RBAC",
				"--enable-admission-plugins=NodeRestriction",
				"--kubelet-client-certificate=" + pki("apiserver-kubelet-client.crt"),
				"--kubelet-client-key=" + pki("apiserver-kubelet-client.key"),
				"--kubelet-certificate-authority=" + pki("ca.crt"),
				"--kubelet-preferred-address-types=InternalIP", // nobody resolves the node's name
				"--allow-privileged=true",
				"--audit-policy-file=" + etc("audit-policy.yaml"),
				"--audit-log-path=" + c.path("audit.log"),
				"--audit-log-mode=batch",
				"--audit-log-maxsize=500",
				"--audit-log-maxbackup=2",
				"--profiling=false",
			},
			Ready: loopback("https", 6443, "/readyz"),
		}},
		{
			{
				Name: "kube-controller-manager",
				Args: []string{bin("kube-controller-manager"),
					"--kubeconfig=" + pki("kube-controller-manager.kubeconfig"),
					"--service-account-private-key-file=" + pki("service-account.key"),
					"--root-ca-file=" + pki("ca.crt"),
					"--cluster-signing-cert-file=" + pki("ca.crt"),
					"--cluster-signing-key-file=" + pki("ca.key"),
					"--use-service-account-credentials=true",
					"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins", // the default is below /usr, read-only here
					"--leader-elect=false",
					// The defaults (20-50 requests a second, 5 workers) would be what a load test measures.
					"--kube-api-qps=1000",
					"--kube-api-burst=2000",
					"--concurrent-endpoint-syncs=20",
					"--concurrent-service-endpoint-syncs=20",
				},
				Ready: loopback("https", 10257, "/healthz"),
			},
			{
				Name: "kube-scheduler",
				Args: []string{bin("kube-scheduler"),
					"--kubeconfig=" + pki("kube-scheduler.kubeconfig"),
					"--leader-elect=false",
					"--kube-api-qps=1000",
					"--kube-api-burst=2000",
				},
				Ready: loopback("https", 10259, "/readyz"),
			},
			{
				Name: "kubelet",
				Args: []string{bin("kubelet"),
					"--config=" + etc("kubelet.yaml"),
					"--kubeconfig=" + pki("kubelet-client.kubeconfig"),
					"--hostname-override=" + nodeName,
					"--node-ip=" + c.Net.Node.String(),
				},
				Files: []string{pki("ca.crt"), pki("kubelet.crt"), pki("kubelet.key")},
				Ready: loopback("http", 10248, "/healthz"),
			},
			{
				Name:  "kube-proxy",
				Args:  []string{bin("kube-proxy"), "--config=" + etc("kube-proxy.yaml")},
				Files: []string{pki("kube-proxy.kubeconfig")},
				Ready: loopback("http", 10256, "/healthz"),
			},
		},
	}
}
