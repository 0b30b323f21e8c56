// The box seen from the host: start it, find it, kill it, run commands in it.
//
// The box is the node: a process with its own PID, mount, network, IPC and
// host-name namespaces. All that runs in it dies with that process, and with
// the namespaces go the mounts and interfaces.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// boxName is the box's argv[0]; with the state folder after it, it identifies
// a cluster's box without any pid file.
const boxName = "ephemeron-node"

// boxProcess is a running box, as its command line tells.
type boxProcess struct {
	pid     int
	dir     string // the state folder of its cluster
	index   int
	forward forwardPlan
	known   bool // false for one that another version of this tool started
}

// findBoxes returns the processes that are this cluster's box: none or one,
// more only after an `up` was killed at the wrong moment.
func (c *Cluster) findBoxes() []boxProcess {
	return slices.DeleteFunc(runningBoxes(), func(b boxProcess) bool { return b.dir != c.Dir })
}

// runningBoxes returns the boxes of all clusters of this machine.
func runningBoxes() []boxProcess {
	var boxes []boxProcess
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A zombie's command line is empty.
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if b, ok := parseBox(pid, string(line)); ok {
			boxes = append(boxes, b)
		}
	}
	return boxes
}

// parseBox reads a process's command line, with a zero byte after each word.
func parseBox(pid int, line string) (b boxProcess, ok bool) {
	args := strings.Split(strings.TrimSuffix(line, "\x00"), "\x00")
	if len(args) < 2 || args[0] != boxName {
		return b, false
	}
	b = boxProcess{pid: pid, dir: args[1]}
	if len(args) > 2 {
		if index, err := strconv.Atoi(args[2]); err == nil && isIndex(index) {
			b.index = index
		}
	}
	if len(args) == 4 && b.index != 0 {
		var err error
		b.forward, err = parseForward(args[3])
		b.known = err == nil
	}
	return b, true
}

// box returns the box's process id, 0 if there is none.
func (c *Cluster) box() int {
	if boxes := c.findBoxes(); len(boxes) > 0 {
		return boxes[0].pid
	}
	return 0
}

// ensureBox starts the box unless it is there and answers.
func (c *Cluster) ensureBox(ctx context.Context) (pid int, err error) {
	boxes := c.findBoxes()
	if len(boxes) == 1 && boxes[0].known {
		if _, err := c.programs(ctx); err == nil {
			return boxes[0].pid, nil
		}
		fmt.Println("the node's first process does not answer: starting the node anew")
	} else if len(boxes) > 0 {
		fmt.Println("the node was started by another version of this tool: starting it anew")
	}
	if err := c.clearBox(ctx, boxes); err != nil {
		return 0, err
	}
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return 0, err
	}
	if err := createCgroups(hierarchies, c.Net.cgroup()); err != nil {
		return 0, err
	}
	if err := c.makeBoxFolders(); err != nil {
		return 0, err
	}
	fmt.Printf("start the node (takes about 5 s; logs: %s)\n", c.path("logs"))
	return c.startBox(ctx)
}

// makeBoxFolders makes the folders that the box needs. It first empties them if
// the machine was restarted: etcd does not fsync here, so its data may be torn.
func (c *Cluster) makeBoxFolders() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	last, err := os.ReadFile(c.path("node", "boot_id"))
	if err == nil && string(last) != string(boot) {
		fmt.Println("the machine was restarted since the node last ran: the cluster starts empty")
	}
	if string(last) != string(boot) {
		if err := c.emptyNode(); err != nil {
			return err
		}
	}
	for _, dir := range []string{c.path("run", "root"), c.path("node", "var"), c.path("logs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return writeFile(c.path("node", "boot_id"), string(boot), 0o644)
}

// emptyNode removes the node's data and its programs' logs; the node is not running.
func (c *Cluster) emptyNode() error {
	stale, _ := filepath.Glob(c.path("logs", "*.log"))
	stale = slices.DeleteFunc(stale, func(log string) bool { return strings.HasPrefix(filepath.Base(log), "up-") })
	for _, path := range append(stale, c.path("node")) {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// startBox creates the namespaces with the box's process in them. The sockets
// of the forward are opened here, on the host, and handed down: so the forward
// is part of the box and dies with it.
func (c *Cluster) startBox(ctx context.Context) (pid int, err error) {
	forward, sockets, err := openForward()
	if err != nil {
		return 0, err
	}
	defer closeAll(sockets)
	c.Ports = forward.ports()
	log, err := os.OpenFile(c.Log("supervisor"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Cmd{
		Path:       c.Bin("cluster"),
		Args:       []string{boxName, c.Dir, strconv.Itoa(c.Net.Index), forward.String()},
		Dir:        "/",
		Env:        []string{"PATH=" + c.boxPath()},
		Stdout:     log,
		Stderr:     log,
		ExtraFiles: sockets,
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:     true, // a Ctrl-C on `up` is not meant for the node
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		},
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("create the node's namespaces (is this root, with CAP_SYS_ADMIN?): %w", err)
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if _, err = c.programs(ctx); err == nil {
			return cmd.Process.Pid, nil
		}
		select {
		case exit := <-died:
			return 0, withLog(fmt.Errorf("the node's first process ended: %v", exit), c.Log("supervisor"))
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return 0, withLog(fmt.Errorf("the node's first process does not answer: %w", err), c.Log("supervisor"))
		}
	}
}

// boxPath is the PATH inside the box: ours first, then Debian's unpacked packages, then the machine's.
func (c *Cluster) boxPath() string {
	return strings.Join([]string{c.path("bin"), c.path("debian", "usr", "bin"), c.path("debian", "usr", "sbin"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":")
}

// clearBox kills what is left of a box and removes what does not go by itself,
// unless another cluster has the address range by now: then link and cgroups
// of that name are the other's. The caller holds the machine's lock.
func (c *Cluster) clearBox(ctx context.Context, boxes []boxProcess) error {
	for _, b := range boxes {
		if err := killBox(ctx, b.pid); err != nil {
			return err
		}
	}
	if c.Net.Index == 0 {
		return nil
	}
	all, err := readClaims(c.Net.Index)
	if err != nil {
		return err
	}
	if all.holder(c.Net.Index, c.Dir) != "" {
		return nil
	}
	if err := c.removeLink(ctx); err != nil {
		return err
	}
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	return removeCgroups(ctx, hierarchies, c.Net.cgroup())
}

// killBox kills the first process of the box; the kernel then kills all others before it lets the first one go.
func killBox(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the node's first process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if gone(pid) {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("the node's first process %d was killed but does not go away: a process in it hangs in the kernel (see `ps -eo pid,stat,wchan:30,args`)", pid)
		}
		time.Sleep(10 * time.Millisecond) // not our child: there is nothing to wait on
	}
}

// gone also takes a zombie for gone: whoever started it may reap it late or never.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// inBox is a command that runs in all of the box's namespaces.
func (c *Cluster) inBox(ctx context.Context, args ...string) (*exec.Cmd, error) {
	box := c.box()
	if box == 0 {
		return nil, c.errNoNode()
	}
	enter := []string{"-t", strconv.Itoa(box), "-m", "-u", "-i", "-n", "-p", "--", "env", "--chdir=/", "PATH=" + c.boxPath(), "HOME=/root"}
	cmd := exec.CommandContext(ctx, "nsenter", slices.Concat(enter, args)...)
	return cmd, nil
}
