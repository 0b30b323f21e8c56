// up and down.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// up brings the cluster into its wanted state from whatever state it is in.
// Each line does nothing where there is nothing to do.
func (c *Cluster) up(ctx context.Context, addOns string) error {
	began := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("a node needs namespaces, mounts and cgroups: run as root")
	}
	if c.Source == "" {
		return errors.New("start this program by the script tests/cluster/cluster, which tells it where the sources are")
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	chosen, err := c.chooseAddOns(addOns)
	if err != nil {
		return err
	}

	if err := c.ensurePackages(ctx); err != nil {
		return err
	}
	if err := c.buildNode(ctx); err != nil {
		return err
	}

	if err := c.ensureNode(ctx); err != nil {
		return err
	}
	if err := c.writeEnv(); err != nil {
		return err
	}
	for i, group := range c.nodePrograms() {
		if err := c.Ensure(ctx, group...); err != nil {
			return err
		}
		if i == 0 { // containerd is there: the first Pods should find their images
			if err := c.ensureImages(ctx); err != nil {
				return err
			}
		}
	}
	if err := c.waitNode(ctx); err != nil {
		return err
	}
	// A benchmark that was interrupted leaves the node closed to new Pods.
	var said bytes.Buffer
	if err := c.Kubectl(ctx, &said, nil, "uncordon", nodeName); err != nil {
		return fmt.Errorf("uncordon %s: %w: %s", nodeName, err, said.String())
	}
	if err := c.applyAddOns(ctx, chosen); err != nil {
		return err
	}
	fmt.Printf("the cluster is up (%s): `. %s`, then `kubectl get nodes`; see `cluster status`\n", time.Since(began).Round(10*time.Millisecond), c.path("env"))
	if c.Ports.HTTP != 80 || c.Ports.HTTPS != 443 {
		fmt.Printf("its HTTP is at localhost:%d and its HTTPS at localhost:%d, as 80 or 443 was taken\n", c.Ports.HTTP, c.Ports.HTTPS)
	}
	return nil
}

// ensureNode gives the cluster its addresses and starts the node at them.
func (c *Cluster) ensureNode(ctx context.Context) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.ensureNetwork(ctx); err != nil {
		return fmt.Errorf("choose addresses: %w", err)
	}
	if err := c.ensurePKI(); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if err := c.writeConfigs(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	box, err := c.ensureBox(ctx)
	if err != nil {
		return err
	}
	return c.ensureLink(ctx, box)
}

// down kills the box, and with it all that runs in it, and removes what the
// kernel does not remove by itself.
func (c *Cluster) down(ctx context.Context, purge bool) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	boxes := c.findBoxes()
	if err := c.endNode(ctx, boxes); err != nil {
		return err
	}
	parts := c.runTimeParts()
	if purge {
		parts = append(parts, c.path("bin"), c.path("cache"), c.path("debian"), c.path("debian.sum"), c.path("logs"))
	}
	removed := false
	for _, part := range parts {
		if _, err := os.Lstat(part); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		removed = true
		if err := os.RemoveAll(part); err != nil {
			return fmt.Errorf("remove %s: %w", part, err)
		}
	}
	if len(boxes) == 0 && !removed {
		fmt.Println("there is no cluster: nothing to do")
		return nil
	}
	fmt.Println("the cluster is down")
	return nil
}

func (c *Cluster) endNode(ctx context.Context, boxes []boxProcess) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	return c.clearBox(ctx, boxes)
}
