package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseHierarchies(t *testing.T) {
	got := parseHierarchies(strings.NewReader(`25 18 0:22 / /proc rw,relatime - proc proc rw
30 25 0:26 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpuset rw,relatime shared:10 - cgroup cgroup rw,cpuset
32 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
`))
	want := []hierarchy{
		{path: "/sys/fs/cgroup/cpuset", options: "rw,cpuset"},
		{path: "/sys/fs/cgroup/unified", v2: true, options: "rw,nsdelegate"},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A folder of plain files stands in for a hierarchy: the kernel's own cannot be had without root.
func TestCreateAndRemoveCgroups(t *testing.T) {
	v1, v2 := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		v1 + "/cpuset.cpus":             "0-1\n",
		v1 + "/cpuset.mems":             "0\n",
		v2 + "/cgroup.controllers":      "cpu memory\n",
		v2 + "/ours/cgroup.controllers": "cpu memory\n",
	} {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hierarchies := []hierarchy{{path: v1, options: "rw,cpuset"}, {path: v2, v2: true}}
	for range 2 { // the second time all of it is there
		if err := createCgroups(hierarchies, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	if cpus, _ := os.ReadFile(v1 + "/ours/cpuset.cpus"); string(cpus) != "0-1\n" {
		t.Errorf("the new cpuset has the processors %q", cpus)
	}
	if control, _ := os.ReadFile(v2 + "/ours/cgroup.subtree_control"); string(control) != "+memory" { // the last one written
		t.Errorf("the new cgroup hands down %q", control)
	}

	deep := t.TempDir()
	if err := os.MkdirAll(deep+"/ours/kubepods/burstable/pod1/container", 0o755); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(deep+"/theirs", 0o755)
	for range 2 {
		if err := removeCgroups(t.Context(), []hierarchy{{path: deep}}, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(deep + "/ours"); err == nil {
		t.Error("our cgroup is still there")
	}
	if _, err := os.Stat(deep + "/theirs"); err != nil {
		t.Error("a cgroup that is not ours is gone")
	}
}
