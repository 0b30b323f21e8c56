// The addresses of a cluster, and the host's end of the link to its node.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Network is a cluster's own 10.INDEX.0.0/16. INDEX also names its interface
// and cgroups, so that two clusters on one machine share nothing.
type Network struct {
	Index              int
	Host, Node, Second netip.Addr   // the link: the host's end, the node, the node's second address
	Link               netip.Prefix // host <-> node
	Pods, Services     netip.Prefix
	API, DNS           netip.Addr // the Services kubernetes.default and (once there is one) the DNS
}

func newNetwork(index int) Network {
	at := func(c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(index), c, d}) }
	return Network{
		Index:    index,
		Host:     at(255, 1),
		Node:     at(255, 2),
		Second:   at(255, 3),
		Link:     netip.PrefixFrom(at(255, 0), 29),
		Pods:     netip.PrefixFrom(at(0, 0), 24),
		Services: netip.PrefixFrom(at(128, 0), 18), // not /17: that would take in the link,
		API:      at(128, 1),
		DNS:      at(128, 10),
	}
}

func (n Network) all() netip.Prefix     { return netip.PrefixFrom(n.Pods.Addr(), 16) }
func (n Network) interfaceName() string { return interfacePrefix + strconv.Itoa(n.Index) }
func (n Network) cgroup() string        { return "ephemeron-" + strconv.Itoa(n.Index) }
func (n Network) apiServer() string     { return "https://" + net.JoinHostPort(n.Node.String(), "6443") }

// interfacePrefix and a range's index make the name of the host's end of the link.
const interfacePrefix = "ephemeron"

// firstIndex is the /16 tried first; unusual, so that addresses stay the same nearly everywhere.
const (
	firstIndex = 187
	lastIndex  = 254
)

// isIndex says whether 10.INDEX.0.0/16 is one that a cluster may have.
func isIndex(index int) bool { return firstIndex <= index && index <= lastIndex }

// takenPrefixes are the machine's IPv4 routes and addresses, but for those of one interface.
func takenPrefixes(except string) ([]netip.Prefix, error) {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	prefixes := parseRoutes(f, except)
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if i.Name == except {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				prefixes = append(prefixes, p.Masked())
			}
		}
	}
	return prefixes, nil
}

// parseRoutes reads /proc/net/route, but for one interface's: destination and
// mask are hexadecimal, least significant byte first.
func parseRoutes(r io.Reader, except string) []netip.Prefix {
	var prefixes []netip.Prefix
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[0] == except {
			continue
		}
		dest, err1 := hex.DecodeString(f[1])
		mask, err2 := hex.DecodeString(f[7])
		if err1 != nil || err2 != nil || len(dest) != 4 || len(mask) != 4 {
			continue
		}
		addr := netip.AddrFrom4([4]byte{dest[3], dest[2], dest[1], dest[0]})
		ones, _ := net.IPMask(binary.BigEndian.AppendUint32(nil, binary.LittleEndian.Uint32(mask))).Size()
		prefixes = append(prefixes, netip.PrefixFrom(addr, ones))
	}
	return prefixes
}

// ensureLink connects the host with the box: a veth pair, and routes for Pods
// and Services. Everything is stated anew, so it also repairs. The box gets no
// default route: what runs in it reaches the host's end of the link, no farther.
func (c *Cluster) ensureLink(ctx context.Context, box int) error {
	n, name, pid := c.Net, c.Net.interfaceName(), strconv.Itoa(box)
	inBox := []string{"nsenter", "-t", pid, "-n"}
	if !linkExists(name) || command(ctx, append(inBox, "ip", "link", "show", "dev", "eth0")...) != nil {
		if err := c.removeLink(ctx); err != nil {
			return err
		}
		if err := command(ctx, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid); err != nil {
			return err
		}
	}
	cidr := func(a netip.Addr) string { return netip.PrefixFrom(a, n.Link.Bits()).String() }
	for _, args := range [][]string{
		append(inBox, "ip", "address", "replace", cidr(n.Node), "dev", "eth0"),
		append(inBox, "ip", "address", "replace", cidr(n.Second), "dev", "eth0"),
		append(inBox, "ip", "link", "set", "lo", "up"),
		append(inBox, "ip", "link", "set", "eth0", "up"),
		{"ip", "link", "set", name, "alias", c.Dir}, // whose it is; not taken by `ip link add`
		{"ip", "address", "replace", cidr(n.Host), "dev", name},
		{"ip", "link", "set", name, "up"},
		{"ip", "route", "replace", n.Pods.String(), "via", n.Node.String(), "dev", name, "src", n.Host.String()},
		{"ip", "route", "replace", n.Services.String(), "via", n.Node.String(), "dev", name, "src", n.Host.String()},
	} {
		if err := command(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func linkExists(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

// dialer connects over the link only: with the link gone, the machine's default
// route must not carry our requests to whoever has these addresses out there.
func (n Network) dialer() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		cerr := conn.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), n.interfaceName()) })
		return errors.Join(cerr, err)
	}}
}

// removeLink removes the host's end, and with it the other end and the routes.
func (c *Cluster) removeLink(ctx context.Context) error {
	if !linkExists(c.Net.interfaceName()) {
		return nil
	}
	err := command(ctx, "ip", "link", "delete", c.Net.interfaceName())
	if !linkExists(c.Net.interfaceName()) {
		return nil // it may have gone by itself with the box
	}
	return err
}

// command runs a short command and puts what it said into the error.
func command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
