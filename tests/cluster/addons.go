// Add-ons: what `up` puts on the node once it is Ready, such as a gateway or a DNS server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// AddOn is something `up` puts on the node once it is Ready.
type AddOn struct {
	Name string                                      // chosen by `up --gateways NAME,NAME`
	Up   func(ctx context.Context, c *Cluster) error // idempotent; quick when there is nothing to do
	Down func(ctx context.Context, c *Cluster) error // takes it off a running node; idempotent; may be nil
	Try  func(c *Cluster) []string                   // lines for `status`: URLs and commands to try; may be nil
}

// addOns are all there are, in the order they start.
var addOns = []AddOn{traefikAddOn, contourAddOn}

// defaultAddOns are the ones a new cluster gets without --gateways.
var defaultAddOns = []string{"traefik"}

// chooseAddOns resolves `--gateways`: what was asked for now, else at an
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
			return nil, fmt.Errorf("no gateway named %q; there are: %s", name, strings.Join(append(known, "none"), ", "))
		}
	}
	return chosen, nil
}

// applyAddOns puts the chosen add-ons on the node and takes the others off it.
func (c *Cluster) applyAddOns(ctx context.Context, chosen []AddOn) error {
	for _, a := range addOns {
		do := a.Down
		if slices.ContainsFunc(chosen, func(other AddOn) bool { return other.Name == a.Name }) {
			do = a.Up
		}
		if do == nil {
			continue
		}
		if err := do(ctx, c); err != nil {
			return fmt.Errorf("add-on %s: %w", a.Name, err)
		}
	}
	return nil
}

// Kubectl runs kubectl as the administrator, with its output in a step's log.
func (c *Cluster) Kubectl(ctx context.Context, log io.Writer, stdin io.Reader, args ...string) error {
	cmd := exec.CommandContext(ctx, c.Bin("kubectl"), append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	return runTied(cmd)
}
