package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const e2ePods = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: nginx, image: nginx, imagePullPolicy: IfNotPresent, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: nginx, image: nginx, imagePullPolicy: IfNotPresent}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8000, targetPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
`

// e2e drives a cluster of its own beside whatever runs on the machine.
type e2e struct {
	*testing.T
	dir string
}

func (e e2e) run(args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "EPHEMERON_CLUSTER_DIR="+e.dir, "KUBECONFIG="+e.dir+"/kubeconfig")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (e e2e) must(args ...string) string {
	e.Helper()
	out, err := e.run(args...)
	if err != nil {
		e.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (e e2e) kubectl(args ...string) string {
	e.Helper()
	return e.must(append([]string{e.dir + "/bin/kubectl"}, args...)...)
}

// eventually retries what the cluster does by itself a little later.
func (e e2e) eventually(what string, try func() error) {
	e.Helper()
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	e.Fatalf("%s: %v", what, err)
}

// fetch asks from the host, or from inside the Pod with the given address.
func (e e2e) fetch(fromPod, url string) error {
	args := []string{"curl", "-sS", "--max-time", "3", url}
	if fromPod != "" {
		const enter = `for pid in $(ctr -n k8s.io tasks list -q | xargs -n1 -I{} sh -c 'ctr -n k8s.io tasks ps {} | sed -n 2p' | cut -d" " -f1); do
  nsenter -t $pid -n ip -o address | grep -q "inet $0/" && exec nsenter -t $pid -n "$@"
done; echo "no Pod has the address $0"; exit 1`
		args = append([]string{"./cluster", "exec", "sh", "-c", enter, fromPod}, args...)
	}
	out, err := e.run(args...)
	if err == nil && !strings.Contains(out, "Welcome to nginx!") {
		err = fmt.Errorf("%s answers %q", url, out)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (e e2e) servesPods() {
	e.Helper()
	ip := func(name string) string { return e.kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}") }
	clusterIP := e.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	e.eventually("from the host by the Service's address", func() error { return e.fetch("", "http://"+clusterIP+":8000") })
	e.eventually("from a Pod by the Service's address", func() error { return e.fetch(ip("other"), "http://"+clusterIP+":8000") })
	e.eventually("from a Pod to itself by its Service", func() error { return e.fetch(ip("web"), "http://"+clusterIP+":8000") })
	e.eventually("from a Pod by the headless Service's endpoint", func() error {
		endpoint := e.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=headless", "-o", "jsonpath={.items[0].endpoints[0].addresses[0]}")
		return e.fetch(ip("other"), "http://"+endpoint)
	})
}

func (e e2e) killNode() {
	e.Helper()
	box := (&Cluster{Dir: e.dir}).box()
	if box == 0 {
		e.Fatal("no node runs")
	}
	if err := syscall.Kill(box, syscall.SIGKILL); err != nil {
		e.Fatal(err)
	}
}

// leavesRangesOfOthers has another cluster take the range while the node is
// dead: its link, and a Pods' cgroup, outlive `up` and `down` of this one.
func (e e2e) leavesRangesOfOthers() {
	e.Helper()
	index, err := readInt(e.dir + "/network")
	if err != nil {
		e.Fatal(err)
	}
	n := newNetwork(index)
	e.killNode()
	e.eventually("the dead node's link goes", func() error {
		if linkExists(n.interfaceName()) {
			return fmt.Errorf("%s is still there", n.interfaceName())
		}
		return nil
	})
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		e.Fatal(err)
	}
	pods := filepath.Join(hierarchies[0].path, n.cgroup(), "another's")
	if err := os.MkdirAll(pods, 0o755); err != nil {
		e.Fatal(err)
	}
	e.must("ip", "link", "add", n.interfaceName(), "type", "veth", "peer", "name", "ephemeron-peer")
	defer e.run("ip", "link", "delete", n.interfaceName())
	e.must("ip", "link", "set", n.interfaceName(), "alias", "/var/lib/another")
	untouched := func(after string) {
		e.Helper()
		if _, err := os.Stat(pods); err != nil || !linkExists(n.interfaceName()) {
			e.Errorf("%s took what another cluster has: link %v, cgroup %v", after, linkExists(n.interfaceName()), err)
		}
	}

	e.must("./cluster", "up")
	untouched("up")
	if now, err := readInt(e.dir + "/network"); err != nil || now == index {
		e.Errorf("the cluster should have another range than %d: %d, %v", index, now, err)
	}
	e.must("./cluster", "status")
	e.must("./cluster", "down")
	untouched("down")
	if err := writeFile(e.dir+"/network", fmt.Sprintln(index), 0o644); err != nil {
		e.Fatal(err)
	}
	e.must("./cluster", "down")
	untouched("down with the other's range in its folder")
	if err := removeCgroups(e.Context(), hierarchies, n.cgroup()); err != nil {
		e.Error(err)
	}
}

// machine is what a cluster might leave behind, as text.
func (e e2e) machine() string {
	var all strings.Builder
	for _, args := range [][]string{
		{"cat", "/proc/mounts"}, {"ip", "-o", "link"}, {"ip", "-o", "address"}, {"ip", "route", "show", "table", "all"}, {"ip", "netns"},
		{"nft", "list", "ruleset"}, {"sh", "-c", "find /sys/fs/cgroup -type d -name 'ephemeron-*' | sort"}, {"sh", "-c", "ls -d /run/netns /var/lib/cni /var/lib/kubelet /var/lib/containerd /run/containerd 2>&1"},
		{"sh", "-c", "sysctl -a 2>/dev/null | grep -E '^(kernel.panic|vm.overcommit|vm.panic|net.ipv4.ip_forward|net.ipv4.conf.(all|default))'"},
	} {
		out, _ := exec.Command(args[0], args[1:]...).CombinedOutput()
		fmt.Fprintf(&all, "== %s\n%s\n", strings.Join(args, " "), out)
	}
	return all.String()
}

// TestCluster takes a cluster through its life: up, Pods, deaths of every kind, down.
func TestCluster(t *testing.T) {
	if os.Getenv("EPHEMERON_CLUSTER_E2E") == "" {
		t.Skip("needs root and a minute or more: set EPHEMERON_CLUSTER_E2E=1")
	}
	e := e2e{T: t, dir: "/var/lib/ephemeron-cluster-e2e"}
	e.must("./cluster", "down")
	before := e.machine()
	defer e.run("./cluster", "down")

	t.Log(e.must("./cluster", "up", "--add-ons", "none"))
	e.must("./cluster", "status")
	pods := filepath.Join(t.TempDir(), "pods.yaml")
	if err := os.WriteFile(pods, []byte(e2ePods), 0o644); err != nil {
		t.Fatal(err)
	}
	e.kubectl("apply", "-f", pods)
	e.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
	e.servesPods()
	if out := e.kubectl("exec", "web", "--", "nginx", "-v"); !strings.Contains(out, "nginx version") {
		t.Errorf("exec says %q", out)
	}
	if out := e.kubectl("logs", "web"); !strings.Contains(out, "GET / HTTP/1.1") {
		t.Errorf("the Pod's log is %q", out)
	}
	podIP := e.kubectl("get", "pod", "other", "-o", "jsonpath={.status.podIP}")
	// An address for documentation: nobody has it, and no route in the node leads there.
	if err := e.fetch(podIP, "http://203.0.113.1"); err == nil || strings.Contains(err.Error(), "timed out") {
		t.Errorf("a Pod should have no way out at all: %v", err)
	}

	for _, program := range []string{"etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"} {
		e.must("./cluster", "signal", program, "9")
		e.eventually(program+" after a kill", func() error { _, err := e.run("./cluster", "status"); return err })
	}
	e.servesPods()

	e.killNode()
	if out, err := e.run("./cluster", "status"); err == nil {
		t.Errorf("status of a dead node is 0:\n%s", out)
	}
	e.must("./cluster", "up")
	e.servesPods()

	for _, after := range []time.Duration{300, 900, 1500, 2500, 4000} {
		e.must("./cluster", "down")
		e.must("./cluster", "help") // builds, so that the delay counts from the start of `up`
		up := exec.Command(e.dir+"/bin/cluster", "up", "--add-ons", "none")
		up.Env = append(os.Environ(), "EPHEMERON_CLUSTER_DIR="+e.dir, "EPHEMERON_CLUSTER_SOURCE="+mustAbs(t, "."))
		var out bytes.Buffer
		up.Stdout, up.Stderr = &out, &out
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		up.Process.Kill()
		up.Wait()
		e.must("./cluster", "up")
		e.must("./cluster", "status")
	}

	e.leavesRangesOfOthers()
	e.must("./cluster", "down")
	if left := newLines(before, e.machine()); len(left) > 0 {
		t.Errorf("down left something behind:\n%s", strings.Join(left, "\n"))
	}
	e.must("./cluster", "down")
}

// newLines returns the lines of b that a does not have.
func newLines(a, b string) (found []string) {
	known := strings.Split(a, "\n")
	for _, line := range strings.Split(b, "\n") {
		if !slices.Contains(known, line) {
			found = append(found, line)
		}
	}
	return found
}

func mustAbs(t *testing.T, path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
