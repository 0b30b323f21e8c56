package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigsAreComplete(t *testing.T) {
	c := testCluster(t)
	if err := c.writeConfigs(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(c.Etc("*"))
	nested, _ := filepath.Glob(c.Etc("*/*"))
	for _, file := range append(files, nested...) {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), "{{") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s is not filled in:\n%s", file, text)
		}
	}
	cni, err := os.ReadFile(c.Etc("cni/pods.conflist"))
	if err != nil || !json.Valid(cni) || !strings.Contains(string(cni), `"10.187.0.0/24"`) {
		t.Errorf("cni: %v\n%s", err, cni)
	}
	kubelet, _ := os.ReadFile(c.Etc("kubelet.yaml"))
	if !strings.Contains(string(kubelet), "cgroupRoot: /ephemeron-187\n") {
		t.Errorf("kubelet.yaml:\n%s", kubelet)
	}
}

// Every file that a program's command line names must have been written by then.
func TestProgramsNameExistingFiles(t *testing.T) {
	c := testCluster(t)
	if err := c.writeConfigs(); err != nil {
		t.Fatal(err)
	}
	if err := c.ensurePKI(); err != nil {
		t.Fatal(err)
	}
	for _, group := range c.nodePrograms() {
		for _, p := range group {
			for _, arg := range append(p.Args, p.Files...) {
				if _, value, ok := strings.Cut(arg, "="); ok {
					arg = value
				}
				if strings.HasPrefix(arg, c.path("etc")) || strings.HasPrefix(arg, c.path("pki")) {
					if _, err := os.Stat(arg); err != nil {
						t.Errorf("%s: %v", p.Name, err)
					}
				}
			}
		}
	}
}

func TestDigestFollowsFiles(t *testing.T) {
	c := testCluster(t)
	args := []string{"/bin/program", "--config=" + c.Etc("a.yaml"), "--verbose"}
	if err := writeFile(c.Etc("a.yaml"), "one", 0o644); err != nil {
		t.Fatal(err)
	}
	one := c.digestFiles(args)
	if again := c.digestFiles(args); again != one {
		t.Error("the digest changes by itself")
	}
	writeFile(c.Etc("a.yaml"), "two", 0o644)
	if c.digestFiles(args) == one {
		t.Error("a changed file does not change the digest")
	}
}

func TestEnvCanBeSourced(t *testing.T) {
	c := testCluster(t)
	c.Dir = filepath.Join(c.Dir, "it's a folder")
	if err := c.writeEnv(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$1"; . "$1"; echo "$KUBECONFIG $NODE_ADDRESS $HTTP_PORT ${PATH%%:*}"`, "sh", c.path("env")).CombinedOutput()
	want := c.Dir + "/kubeconfig 10.187.255.2 80 " + c.Dir + "/bin\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: got %q, want %q", err, out, want)
	}
}

func TestVersionFlags(t *testing.T) {
	mod, err := os.ReadFile("node/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	flags, err := versionFlags(string(mod))
	if err != nil || !strings.Contains(flags, "gitVersion=v1.") || !strings.Contains(flags, "gitMajor=1 ") {
		t.Errorf("%q, %v", flags, err)
	}
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	os.WriteFile(path, []byte(strings.Repeat("long ago\n", 10_000)+"next to last\nlast\n"), 0o644)
	if got := lastLines(path, 2); got != "next to last\nlast" {
		t.Errorf("got %q", got)
	}
	if got := lastLines(path+".none", 2); got != "" {
		t.Errorf("got %q", got)
	}
}
