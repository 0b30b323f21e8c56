// Add-ons: what `up` puts on the node once it is Ready: gateways, and fake nodes beside it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// AddOn is something `up` puts on the node once it is Ready.
type AddOn struct {
	Name string                                      // chosen by `up --add-ons NAME,NAME`
	Up   func(ctx context.Context, c *Cluster) error // idempotent; quick when there is nothing to do
	Down func(ctx context.Context, c *Cluster) error // takes it off a running node; idempotent; may be nil
	Well func(ctx context.Context, c *Cluster) error // fast check: while it returns nil, all programs are ready and nothing Up is made from has changed, Up is left out; may be nil
	Try  func(c *Cluster) []string                   // lines for `status`: URLs and commands to try; may be nil
}

// addOns are all there are, in the order they start.
var addOns = []AddOn{traefikAddOn, contourAddOn, kwokAddOn}

// defaultAddOns are the ones a new cluster gets without --add-ons.
var defaultAddOns = []string{"traefik"}

// chooseAddOns resolves `--add-ons`: what was asked for now, else at an
// earlier `up`, else the default; and remembers it.
func (c *Cluster) chooseAddOns(asked string) ([]AddOn, error) {
	names := defaultAddOns
	if last, err := os.ReadFile(c.path("addons")); err == nil {
		names = strings.Fields(string(last))
	}
	if asked == "none" {
		names = nil
	} else if asked != "" {
		names = strings.Split(asked, ",")
	}
	chosen, err := pickAddOns(addOns, names)
	if err != nil {
		return nil, err
	}
	return chosen, writeFile(c.path("addons"), strings.Join(names, " ")+"\n", 0o644)
}

// pickAddOns returns the named add-ons in the order of the list.
func pickAddOns(all []AddOn, names []string) ([]AddOn, error) {
	var chosen []AddOn
	var known []string
	for _, a := range all {
		known = append(known, a.Name)
		if slices.Contains(names, a.Name) {
			chosen = append(chosen, a)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no add-on named %q; there are: %s", name, strings.Join(append(known, "none"), ", "))
		}
	}
	return chosen, nil
}

// applyAddOns puts the chosen add-ons on the node and takes the others off it.
func (c *Cluster) applyAddOns(ctx context.Context, chosen []AddOn) error {
	inputs, err := c.addOnInputs()
	if err != nil {
		return err
	}
	for _, a := range addOns {
		isChosen := slices.ContainsFunc(chosen, func(other AddOn) bool { return other.Name == a.Name })
		stamp := c.path("run", "addons", a.Name)
		if isChosen && c.isApplied(ctx, a, stamp, inputs) {
			continue
		}
		do := a.Down
		if isChosen {
			do = a.Up
		}
		if err := os.RemoveAll(stamp); err != nil {
			return err
		}
		if do == nil {
			continue
		}
		if err := do(ctx, c); err != nil {
			return fmt.Errorf("add-on %s: %w", a.Name, err)
		}
		if isChosen {
			if err := writeFile(stamp, inputs, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// addOnInputs hashes what an add-on is made from: this tool, its files, the
// authority it may show to clients, and the box, since some of it is lost with that.
func (c *Cluster) addOnInputs() (string, error) {
	var inputs []string
	for _, path := range []string{c.Bin("cluster"), c.pki("ca.crt"), fmt.Sprintf("/proc/%d/stat", c.box())} {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(path, "/proc/") {
			b = startTime(b)
		}
		inputs = append(inputs, string(b))
	}
	return hashTree(filepath.Join(c.Source, "gateways"), inputs...)
}

// startTime is field 22 of /proc/PID/stat; field 2, in parentheses, may hold spaces.
func startTime(stat []byte) []byte {
	_, after, _ := bytes.Cut(stat, []byte(") "))
	if fields := bytes.Fields(after); len(fields) > 19 {
		return fields[19]
	}
	return nil
}

// isApplied says whether an add-on needs nothing.
func (c *Cluster) isApplied(ctx context.Context, a AddOn, stamp, inputs string) bool {
	if last, _ := os.ReadFile(stamp); a.Well == nil || string(last) != inputs {
		return false
	}
	programs, err := c.programs(ctx)
	if err != nil || slices.ContainsFunc(programs, func(st Status) bool { return st.NotReady != "" }) {
		return false
	}
	return a.Well(ctx, c) == nil
}

// isProgrammed is Well for a gateway: its controller says that it serves the Gateway of that name.
func isProgrammed(name string) func(ctx context.Context, c *Cluster) error {
	return func(ctx context.Context, c *Cluster) error {
		var gateway struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
		if err := c.get(ctx, "/apis/gateway.networking.k8s.io/v1/namespaces/gateways/gateways/"+name, &gateway); err != nil {
			return err
		}
		for _, cond := range gateway.Status.Conditions {
			if cond.Type == "Programmed" && cond.Status == "True" {
				return nil
			}
		}
		return fmt.Errorf("gateway %s is not programmed", name)
	}
}

// Kubectl runs kubectl as the administrator, with its output in a step's log.
func (c *Cluster) Kubectl(ctx context.Context, log io.Writer, stdin io.Reader, args ...string) error {
	cmd := exec.CommandContext(ctx, c.Bin("kubectl"), append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	return runTied(cmd)
}
