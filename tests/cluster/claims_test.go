package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestChooseARange(t *testing.T) {
	ours := []boxProcess{{pid: 1, dir: "/a", index: 187}}
	others := []boxProcess{{pid: 2, dir: "/b", index: 187}}
	for _, test := range []struct {
		name       string
		remembered int
		claims     claims
		want       int
	}{
		{"a new cluster", 0, claims{}, 187},
		{"default routes of all kinds", 0, claims{taken: prefixes("0.0.0.0/0", "10.0.0.0/8", "192.168.0.0/16")}, 187},
		{"a route into the first range", 0, claims{taken: prefixes("10.187.255.0/29")}, 188},
		{"a route into several", 0, claims{taken: prefixes("10.184.0.0/13")}, 192},
		{"a new cluster beside a node without a link", 0, claims{boxes: others}, 188},
		{"a new cluster beside another's link", 0, claims{marks: map[int]string{187: "/b"}}, 188},
		{"remembered, nobody has it", 200, claims{}, 200},
		{"remembered, others have others", 200, claims{boxes: others, marks: map[int]string{187: "/b"}, taken: prefixes("10.187.0.0/24")}, 200},
		{"remembered, its own node runs", 187, claims{boxes: ours, marks: map[int]string{187: "/a"}}, 187},
		{"remembered, its own link is left", 187, claims{marks: map[int]string{187: "/a"}}, 187},
		{"remembered, another's node has it", 187, claims{boxes: others}, 188},
		{"remembered, another's link has it", 187, claims{marks: map[int]string{187: "/b"}}, 188},
		{"remembered, both nodes run with it", 187, claims{boxes: append(ours, others...), marks: map[int]string{187: "/a"}}, 188},
		{"remembered, another and then a route", 200, claims{boxes: []boxProcess{{pid: 2, dir: "/b", index: 200}}, taken: prefixes("10.187.0.0/16")}, 188},
		{"remembered, something else routes there", 187, claims{taken: prefixes("10.187.3.0/24")}, 188},
		{"something else routes to a running node's range", 187, claims{boxes: ours, taken: prefixes("10.187.3.0/24")}, 187},
		{"its node runs, but with another range", 188, claims{boxes: ours, taken: prefixes("10.188.3.0/24")}, 187},
	} {
		if n, err := test.claims.choose("/a", test.remembered); err != nil || n.Index != test.want {
			t.Errorf("%s: 10.%d.0.0/16, %v; want 10.%d.0.0/16", test.name, n.Index, err, test.want)
		}
	}
	if n, err := (claims{taken: prefixes("10.128.0.0/9")}).choose("/a", 187); err == nil {
		t.Errorf("with every range taken there should be an error, not %v", n.all())
	}
}

// What `down` removes: link and cgroups, while no other cluster has them.
func TestHolder(t *testing.T) {
	a, b := boxProcess{pid: 1, dir: "/a", index: 187}, boxProcess{pid: 2, dir: "/b", index: 187}
	for _, test := range []struct {
		name   string
		claims claims
		want   string
	}{
		{"nobody", claims{}, ""},
		{"an interface of nobody's, another's elsewhere", claims{boxes: []boxProcess{{pid: 2, dir: "/b", index: 188}}, marks: map[int]string{188: "/b"}}, ""},
		{"ourselves", claims{boxes: []boxProcess{a}, marks: map[int]string{187: "/a"}}, ""},
		{"our link, the node has died", claims{marks: map[int]string{187: "/a"}}, ""},
		{"another, before its link is there", claims{boxes: []boxProcess{b}}, "/b"},
		{"another's link, whose node we do not see", claims{marks: map[int]string{187: "/b"}}, "/b"},
		{"both, the link is ours", claims{boxes: []boxProcess{a, b}, marks: map[int]string{187: "/a"}}, "/b"},
		{"both, the link is the other's", claims{boxes: []boxProcess{a, b}, marks: map[int]string{187: "/b"}}, "/b"},
	} {
		if got := test.claims.holder(187, "/a"); got != test.want {
			t.Errorf("%s: the holder is %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseBox(t *testing.T) {
	forward := forwardPlan{{host: 8080, node: 80}}
	for line, want := range map[string]*boxProcess{
		"ephemeron-node\x00/a\x00187\x00forward=8080:80\x00":     {pid: 7, dir: "/a", index: 187, forward: forward, known: true},
		"ephemeron-node\x00/a\x00187\x00more\x00than\x00now\x00": {pid: 7, dir: "/a", index: 187},
		"ephemeron-node\x00/a\x00187\x00nothing\x00":             {pid: 7, dir: "/a", index: 187},
		"ephemeron-node\x00/a\x003\x00forward=8080:80\x00":       {pid: 7, dir: "/a"},
		"ephemeron-node\x00/a\x00":                               {pid: 7, dir: "/a"},
		"ephemeron-node\x00":                                     nil,
		"sh\x00/a\x00187\x00forward=8080:80\x00":                 nil,
		"":                                                       nil, // a zombie's
	} {
		got, ok := parseBox(7, line)
		if ok != (want != nil) || ok && !reflect.DeepEqual(got, *want) {
			t.Errorf("%q is %+v, %v; want %+v", line, got, ok, want)
		}
	}
}

func TestReadMarks(t *testing.T) {
	dir := t.TempDir()
	for name, alias := range map[string]string{
		"ephemeron187": "/var/lib/a b\n", "ephemeron188": "\n", "ephemeron300": "/c\n", "ephemeron-x": "/d\n", "eth0": "/e\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "ifalias"), []byte(alias), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "ephemeron189"), 0o755); err != nil { // its alias has gone while we look
		t.Fatal(err)
	}
	marks, err := readMarks(dir)
	if want := map[int]string{187: "/var/lib/a b"}; err != nil || !reflect.DeepEqual(marks, want) {
		t.Errorf("the marks are %v, %v; want %v", marks, err, want)
	}
	if _, err := readMarks(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("without a folder the error should name it: %v", err)
	}
}

// Two that hold the lock at once would take the same range.
func TestHoldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := holdFile(path, "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	try := func() error { return syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	if err := try(); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("a second one should not get a lock that is held: %v", err)
	}
	release()
	if err := try(); err != nil {
		t.Errorf("a released lock: %v", err)
	}
}
