// What the node is made of: Kubernetes built from its Go module, and Debian's packages.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// multiCall are the names that the one binary built from node/ goes by.
var multiCall = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}

// buildNode builds node/ into bin/kubernetes unless these very sources are built already.
func (c *Cluster) buildNode(ctx context.Context) error {
	sources := c.Source + "/node"
	mod, err := os.ReadFile(sources + "/go.mod")
	if err != nil {
		return err
	}
	flags, err := versionFlags(string(mod))
	if err != nil {
		return err
	}
	sum, err := hashTree(sources, runtime.Version(), flags)
	if err != nil {
		return err
	}
	binary := c.Bin("kubernetes")
	if !isBuilt(binary, sum) {
		err := c.Step(ctx, "build kubernetes", "6 to 10 minutes", func(ctx context.Context, log io.Writer) error {
			// -v names each package as it is compiled, for the progress.
			err := runGo(ctx, log, sources, []string{"CGO_ENABLED=0"}, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", binary+".new", ".")
			if err != nil {
				return err
			}
			return os.Rename(binary+".new", binary)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range multiCall {
		if link, _ := os.Readlink(c.Bin(name)); link != "kubernetes" {
			os.Remove(c.Bin(name))
			if err := os.Symlink("kubernetes", c.Bin(name)); err != nil {
				return err
			}
		}
	}
	return markBuilt(binary, sum)
}

// versionFlags are the linker flags that tell Kubernetes its version, without which its version checks fail.
func versionFlags(mod string) (string, error) {
	m := regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`).FindStringSubmatch(mod)
	if m == nil {
		return "", errors.New("node/go.mod requires no k8s.io/kubernetes")
	}
	flags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} { // the latter for the user agents
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", pkg, m[1], m[2], m[3])
	}
	return flags, nil
}

// isBuilt and markBuilt keep a stamp FILE.sum beside what was built: the hash of what it was built from.
func isBuilt(file, sum string) bool {
	stamp, _ := os.ReadFile(file + ".sum")
	_, err := os.Stat(file)
	return err == nil && string(stamp) == sum
}

func markBuilt(file, sum string) error { return writeFile(file+".sum", sum, 0o644) }

// hashTree hashes the files below a folder, with their names, and the extra words.
func hashTree(dir string, extra ...string) (string, error) {
	h := sha256.New()
	for _, e := range extra {
		fmt.Fprintln(h, e)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", rel, len(b))
		h.Write(b)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// hostCommands are programs that must be installed on the machine, by the package that has each.
var hostCommands = map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}

// unpacked are packages whose programs are used from the state folder without
// being installed: Debian's containerd would push out the one Docker brings,
// and start a service.
var unpacked = []string{"containerd", "runc", "containernetworking-plugins"}

// ensurePackages installs and unpacks what is missing.
func (c *Cluster) ensurePackages(ctx context.Context) error {
	var missing []string
	for name, pkg := range hostCommands {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		err := c.Step(ctx, "install packages", "20 s", func(ctx context.Context, log io.Writer) error {
			return c.apt(ctx, log, "", append([]string{"install", "--no-install-recommends"}, missing...)...)
		})
		if err != nil {
			return fmt.Errorf("install %s: %w", strings.Join(missing, ", "), err)
		}
	}
	sum := strings.Join(unpacked, " ")
	if isBuilt(c.path("debian"), sum) {
		return nil
	}
	return c.Step(ctx, "unpack containerd", "10 s", func(ctx context.Context, log io.Writer) error {
		debs := c.Cache("debs")
		if err := os.RemoveAll(debs); err != nil {
			return err
		}
		if err := os.MkdirAll(debs, 0o755); err != nil {
			return err
		}
		if err := c.apt(ctx, log, debs, append([]string{"download"}, unpacked...)...); err != nil {
			return err
		}
		files, err := filepath.Glob(debs + "/*.deb")
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := run(ctx, log, "", nil, "dpkg-deb", "-x", f, c.path("debian")); err != nil {
				return err
			}
		}
		return markBuilt(c.path("debian"), sum)
	})
}

// apt runs apt-get, as the scripts do.
func (c *Cluster) apt(ctx context.Context, log io.Writer, dir string, args ...string) error {
	return run(ctx, log, dir, nil, append([]string{filepath.Join(c.Source, "apt-get")}, args...)...)
}
