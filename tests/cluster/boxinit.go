// The box's first process: lays out its file system, then supervises the node's programs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// runBox is main for the process that startBox starts; args are the state folder, the network's index and the forward.
func runBox(args []string) error {
	// SIGTERM takes the node down; PID 1 ignores what it does not handle, so nothing else does but SIGKILL.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	index, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	forward, err := parseForward(args[2])
	if err != nil {
		return err
	}
	c := &Cluster{Dir: args[0], Net: newNetwork(index)}
	fmt.Printf("%s node starts\n", time.Now().Format(time.RFC3339))
	if err := syscall.Sethostname([]byte(nodeName)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := enterRoot(c); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	if err := serveForward(forward, c.Net.Node); err != nil {
		return err
	}
	return newSupervisor(c).serve(ctx, c.socket())
}

// enterRoot gives the box a root of its own: the machine's /usr and /etc
// read-only, the state folder where it is on the host, and private /run, /tmp
// and /var. So containerd, CNI and the kubelet keep their default paths
// without touching the host's.
func enterRoot(c *Cluster) error {
	root := c.path("run", "root")
	at := func(path string) string { return filepath.Join(root, path) }

	// Nothing that is mounted here may reach the host.
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{"usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if err := showHost("/"+dir, at(dir)); err != nil {
			return err
		}
	}
	mounts := []struct {
		source, target, kind string
		flags                uintptr
		options              string
	}{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"/sys/fs/cgroup", "/sys/fs/cgroup", "", syscall.MS_BIND | syscall.MS_REC, ""},
		{"/dev", "/dev", "", syscall.MS_BIND | syscall.MS_REC, ""},
		{"tmpfs", "/run", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=755"},
		{"tmpfs", "/tmp", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
		{c.path("node", "var"), "/var", "", syscall.MS_BIND, ""},
		{c.Dir, c.Dir, "", syscall.MS_BIND, ""},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(at(m.target), 0o755); err != nil {
			return err
		}
		if err := mount(m.source, at(m.target), m.kind, m.flags, m.options); err != nil {
			return err
		}
	}
	if err := maskSysctls(at); err != nil {
		return err
	}
	for _, dir := range []string{"/root", "/.old"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			return err
		}
	}
	if err := syscall.PivotRoot(root, at("/.old")); err != nil {
		return fmt.Errorf("pivot_root to %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := syscall.Unmount("/.old", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the host's root: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	// The kubelet's volume mounts must reach containers, within the box.
	return mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
}

// showHost makes a folder of the host visible read-only, or copies the link it is (/bin -> usr/bin).
func showHost(path, target string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	if err := mount(path, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	return mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

// maskSysctls covers the machine-wide settings that a kubelet insists on, so
// that it finds them as it wants and does not change them for the host.
func maskSysctls(at func(string) string) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		mask := at("/run/sysctl/" + name)
		if err := os.MkdirAll(filepath.Dir(mask), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(mask, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		target := at("/proc/sys/" + name)
		if _, err := os.Stat(target); err != nil {
			continue // not in this kernel
		}
		if err := mount(mask, target, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := syscall.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s %s on %s: %w", kind, source, target, err)
	}
	return nil
}
