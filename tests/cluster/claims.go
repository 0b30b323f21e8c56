// Which cluster of this machine has which address range, and the choice of one that no other has.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// machineLock is held from the choice of a range until the link is there, and
// while one is given up: so two clusters never take the same range at once.
const machineLock = "/run/ephemeron-cluster.lock"

func lockMachine() (release func(), err error) {
	return holdFile(machineLock, "waiting for another cluster's node to start or end")
}

// claims is what the machine tells about the address ranges in use.
type claims struct {
	boxes []boxProcess   // every cluster's node
	marks map[int]string // the state folder that an interface is marked with, by the range's index
	taken []netip.Prefix // routes and addresses, but for those of the own link
}

// readClaims looks at the processes and interfaces; own is the index of the
// range whose link does not count as taken, 0 for none.
func readClaims(own int) (claims, error) {
	except := ""
	if own != 0 {
		except = newNetwork(own).interfaceName()
	}
	taken, err := takenPrefixes(except)
	if err != nil {
		return claims{}, err
	}
	marks, err := readMarks("/sys/class/net")
	return claims{boxes: runningBoxes(), marks: marks, taken: taken}, err
}

// readMarks reads the alias of every interface of ours. A link has none until
// `up` has come that far: then only the running node tells whose it is.
func readMarks(dir string) (map[int]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	marks := map[int]string{}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), interfacePrefix)
		index, err := strconv.Atoi(number)
		if !ok || err != nil || !isIndex(index) {
			continue
		}
		alias, _ := os.ReadFile(filepath.Join(dir, e.Name(), "ifalias")) // it may have just gone
		if mark := strings.TrimSuffix(string(alias), "\n"); mark != "" {
			marks[index] = mark
		}
	}
	return marks, nil
}

// holder returns the state folder of another cluster that has the range of this index now, "" if there is none.
// A node counts even where the link is marked as ours: its Pods are in the cgroups of that index.
func (m claims) holder(index int, dir string) string {
	for _, b := range m.boxes {
		if b.index == index && b.dir != dir {
			return b.dir
		}
	}
	if mark := m.marks[index]; mark != dir {
		return mark
	}
	return ""
}

// choose returns the range for the cluster of this folder: the remembered one
// (index 0: none) while no other has it, else the first that is free. A running
// node keeps its range whatever else the machine routes there.
func (m claims) choose(dir string, remembered int) (Network, error) {
	if remembered != 0 && m.holder(remembered, dir) == "" {
		n, running := newNetwork(remembered), false
		for _, b := range m.boxes {
			running = running || b.dir == dir && b.index == remembered
		}
		if running || isFree(n, m.taken) {
			return n, nil
		}
	}
	for i := firstIndex; i <= lastIndex; i++ {
		if n := newNetwork(i); m.holder(i, dir) == "" && isFree(n, m.taken) {
			return n, nil
		}
	}
	return Network{}, errors.New("no free address range: this machine has routes or other clusters in every one of 10.187.0.0/16 to 10.254.0.0/16 (see `ip route` and `ip link`)")
}

// isFree says that a range overlaps nothing the machine already routes to.
// Routes of /8 and shorter are ignored: they are default routes of some kind,
// and ours are more specific.
func isFree(n Network, taken []netip.Prefix) bool {
	for _, p := range taken {
		if p.Bits() > 8 && p.Overlaps(n.all()) {
			return false
		}
	}
	return true
}

// ensureNetwork chooses the cluster's addresses, remembers them, and keeps
// them until another has them. What runs at the old ones is then given up: the
// API server's Services and the node's Pods have addresses of that range.
func (c *Cluster) ensureNetwork(ctx context.Context) error {
	all, err := readClaims(c.Net.Index)
	if err != nil {
		return err
	}
	n, err := all.choose(c.Dir, c.Net.Index)
	if err != nil {
		return err
	}
	if c.Net.Index != 0 && n.Index != c.Net.Index {
		who := "something else on this machine"
		if other := all.holder(c.Net.Index, c.Dir); other != "" {
			who = "the cluster in " + other
		}
		fmt.Printf("%s has the addresses %s now: this cluster starts empty, with %s\n", who, c.Net.all(), n.all())
		if err := c.clearBox(ctx, c.findBoxes()); err != nil {
			return err
		}
		if err := c.emptyNode(); err != nil {
			return err
		}
	}
	c.Net = n
	return writeFile(c.path("network"), strconv.Itoa(n.Index)+"\n", 0o644)
}
