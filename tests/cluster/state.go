// The state folder: where everything of one cluster lives, who holds its lock, and its env file.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Cluster is one cluster: its state folder, the sources it is built from and its addresses.
type Cluster struct {
	Dir    string // the state folder
	Source string // this module's folder in the checkout
	Net    Network
	Ports  Ports
}

// nodeName is the name of the one node, in Kubernetes and as the box's host name.
const nodeName = "node1"

// A Unix socket's address holds 107 characters.
const longestSocketPath = 107

// openCluster finds the state folder and what it records of an existing cluster.
func openCluster() (*Cluster, error) {
	dir := os.Getenv("EPHEMERON_CLUSTER_DIR")
	if dir == "" {
		dir = "/var/lib/ephemeron-cluster"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// One name for one folder: a running node is found by it.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	c := &Cluster{Dir: dir, Source: os.Getenv("EPHEMERON_CLUSTER_SOURCE")}
	if n := len(c.socket()); n > longestSocketPath {
		return nil, fmt.Errorf("the path %s is %d characters long, a Unix socket's may be %d: set EPHEMERON_CLUSTER_DIR to a shorter folder", c.socket(), n, longestSocketPath)
	}
	if index, err := readInt(c.path("network")); err == nil && isIndex(index) {
		c.Net = newNetwork(index)
	}
	if boxes := c.findBoxes(); len(boxes) > 0 && boxes[0].known { // a running node knows better than a file
		c.Net, c.Ports = newNetwork(boxes[0].index), boxes[0].forward.ports()
	}
	return c, nil
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

// Bin is the path of a program.
func (c *Cluster) Bin(name string) string { return c.path("bin", name) }

// Cache is the path of something downloaded or built, which `down` keeps.
func (c *Cluster) Cache(parts ...string) string {
	return c.path(append([]string{"cache"}, parts...)...)
}

// Etc is the path of a rendered configuration file.
func (c *Cluster) Etc(name string) string { return c.path("etc", name) }

// Log is the path of a program's or a step's log.
func (c *Cluster) Log(name string) string { return c.path("logs", name+".log") }

func (c *Cluster) pki(name string) string { return c.path("pki", name) }
func (c *Cluster) socket() string         { return c.path("run", "supervisor.sock") }
func (c *Cluster) kubeconfig() string     { return c.path("kubeconfig") }

// runTimeParts is what a running cluster has in the state folder and `down` removes.
func (c *Cluster) runTimeParts() []string {
	var parts []string
	for _, name := range []string{"node", "run", "etc", "pki", "kubeconfig", "env", "audit.log", "network", "addons"} {
		parts = append(parts, c.path(name))
	}
	rotated, _ := filepath.Glob(c.path("audit-*.log"))
	return append(parts, rotated...)
}

// lock lets one command at a time change the cluster; the kernel drops it with the process.
func (c *Cluster) lock() (release func(), err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	return holdFile(c.path("lock"), "waiting for another up or down of this cluster to end")
}

// holdFile locks a file; if another process holds it, it says so and waits.
func holdFile(path, waiting string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return func() { f.Close() }, nil
	} else if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	fmt.Println(waiting)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// writeEnv writes the shell-sourceable description of the cluster.
func (c *Cluster) writeEnv() error {
	return writeFile(c.path("env"), renderEnv(c), 0o644)
}

func renderEnv(c *Cluster) string {
	var b strings.Builder
	for _, kv := range [][2]string{
		{"EPHEMERON_CLUSTER_DIR", c.Dir},
		{"KUBECONFIG", c.kubeconfig()},
		{"API_SERVER", c.Net.apiServer()},
		{"NODE_ADDRESS", c.Net.Node.String()},
		{"SECOND_ADDRESS", c.Net.Second.String()},
		{"HOST_ADDRESS", c.Net.Host.String()},
		{"POD_CIDR", c.Net.Pods.String()},
		{"SERVICE_CIDR", c.Net.Services.String()},
		{"HTTP_PORT", strconv.Itoa(c.Ports.HTTP)},
		{"HTTPS_PORT", strconv.Itoa(c.Ports.HTTPS)},
		{"TLS_CA", c.authority()},
		{"AUDIT_LOG", c.path("audit.log")},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", kv[0], strings.ReplaceAll(kv[1], "'", `'\''`))
	}
	// Only once, however often it is sourced.
	b.WriteString(`case ":$PATH:" in *:"$EPHEMERON_CLUSTER_DIR/bin":*) ;; *) export PATH="$EPHEMERON_CLUSTER_DIR/bin:$PATH" ;; esac` + "\n")
	return b.String()
}

// writeFile replaces a file in one step, and leaves it alone when it already says the same.
func writeFile(path, content string, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(content), mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func readInt(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
