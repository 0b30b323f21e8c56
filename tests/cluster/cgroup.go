// The cgroups of the Pods: one parent of ours in every hierarchy, for cgroup v1, v2 and the hybrid of both.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// hierarchy is one mounted cgroup hierarchy.
type hierarchy struct {
	path    string // where it is mounted
	v2      bool
	options string // of a v1 hierarchy: its controllers, among others
}

func cgroupHierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := parseHierarchies(f)
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted under /sys/fs/cgroup: the kubelet cannot work without")
	}
	return found, nil
}

// parseHierarchies reads mountinfo: fields up to " - ", then type, source and options.
func parseHierarchies(r io.Reader) []hierarchy {
	var found []hierarchy
	for lines := bufio.NewScanner(r); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		if kind := right[0]; kind == "cgroup" || kind == "cgroup2" {
			h := hierarchy{path: left[4], v2: kind == "cgroup2", options: right[2]}
			if !slices.Contains(found, h) {
				found = append(found, h)
			}
		}
	}
	return found
}

// createCgroups makes the parent that the kubelet's configuration names; the kubelet does not make it itself.
func createCgroups(hierarchies []hierarchy, name string) error {
	for _, h := range hierarchies {
		if h.v2 {
			if err := enableControllers(h.path); err != nil {
				return err
			}
		}
		dir := filepath.Join(h.path, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create a cgroup for the Pods: %w", err)
		}
		if h.v2 {
			if err := enableControllers(dir); err != nil {
				return err
			}
		}
		if !h.v2 && slices.Contains(strings.Split(h.options, ","), "cpuset") {
			// A new v1 cpuset is empty and would take no process.
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				all, err := os.ReadFile(filepath.Join(h.path, file))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, file), all, 0o644)
				}
				if err != nil {
					return fmt.Errorf("set up the cgroup for the Pods: %w", err)
				}
			}
		}
	}
	return nil
}

// enableControllers hands a v2 cgroup's controllers down to its children.
func enableControllers(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(available)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		needed := slices.Contains([]string{"cpu", "cpuset", "memory", "pids"}, controller)
		if err != nil && needed {
			return fmt.Errorf("enable the %s controller for the Pods' cgroup: %w", controller, err)
		}
	}
	return nil
}

// removeCgroups removes the parent with all below it, deepest first, and waits for processes that are just dying.
func removeCgroups(ctx context.Context, hierarchies []hierarchy, name string) error {
	for _, h := range hierarchies {
		for deadline := time.Now().Add(5 * time.Second); ; {
			err := removeTree(filepath.Join(h.path, name))
			if err == nil {
				break
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("%w (which processes are in it: `find %s -name cgroup.procs | xargs cat`)", err, filepath.Join(h.path, name))
			}
			time.Sleep(20 * time.Millisecond) // a dying process leaves its cgroup without any notice
		}
	}
	return nil
}

// removeTree removes a folder of folders; the files in a cgroup go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && err != syscall.ENOENT {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
