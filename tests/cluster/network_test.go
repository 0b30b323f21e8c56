package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	got := parseRoutes(strings.NewReader(`Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	0002A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
ephemeron187	0000BB0A	02FFBB0A	0003	0	0	0	00FFFFFF	0	0	0
`), "ephemeron187")
	want := []string{"0.0.0.0/0", "172.17.0.0/16", "192.168.2.0/24"}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i].String() != want[i] {
			t.Errorf("route %d is %v, want %s", i, got[i], want[i])
		}
	}
}

// kube-proxy rejects what goes to an unused address of the Services' range, so nothing else may be in it.
func TestRangesAreApart(t *testing.T) {
	n := newNetwork(firstIndex)
	ranges := []netip.Prefix{n.Link, n.Pods, n.Services}
	for i, a := range ranges {
		if !n.all().Overlaps(a) {
			t.Errorf("%v is outside %v", a, n.all())
		}
		for _, b := range ranges[i+1:] {
			if a.Overlaps(b) {
				t.Errorf("%v overlaps %v", a, b)
			}
		}
	}
	for _, a := range []netip.Addr{n.Host, n.Node, n.Second} {
		if !n.Link.Contains(a) {
			t.Errorf("%v is not on the link %v", a, n.Link)
		}
	}
	if !n.Services.Contains(n.API) || !n.Services.Contains(n.DNS) {
		t.Errorf("the Services %v and %v are outside %v", n.API, n.DNS, n.Services)
	}
	if name := newNetwork(254).interfaceName(); len(name) > 15 {
		t.Errorf("the interface name %s is longer than Linux allows", name)
	}
}
