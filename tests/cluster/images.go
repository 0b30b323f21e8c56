// Container images: built from images/ or given as archives, imported into the node's containerd.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pauseImage is the one that every Pod needs; it comes first.
const pauseImage = "pause"

// ensureImages builds what changed under images/ and imports what this node does not have yet.
func (c *Cluster) ensureImages(ctx context.Context) error {
	names, err := c.imageNames()
	if err != nil {
		return err
	}
	present, err := c.presentImages(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ensureImage(ctx, name, present); err != nil {
			return err
		}
	}
	return nil
}

// presentImages lists what containerd has. The kubelet deletes images when the machine's disk is nearly full.
func (c *Cluster) presentImages(ctx context.Context) ([]string, error) {
	cmd, err := c.inBox(ctx, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet")
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the node's images: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// imageNames lists the folders of images/, pause first.
func (c *Cluster) imageNames() ([]string, error) {
	folders, err := filepath.Glob(filepath.Join(c.Source, "images", "*", "ref"))
	if err != nil {
		return nil, err
	}
	names := []string{pauseImage}
	for _, f := range folders {
		if name := filepath.Base(filepath.Dir(f)); name != pauseImage {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	return names, nil
}

// ensureImage builds images/NAME into cache/images/NAME.tar and imports it, each unless done already: present is what containerd has.
func (c *Cluster) ensureImage(ctx context.Context, name string, present []string) error {
	builder := filepath.Join(c.Source, "images", "build")
	script, err := os.ReadFile(builder)
	if err != nil {
		return fmt.Errorf("no way to build the image %s: %w", name, err)
	}
	sum, err := hashTree(filepath.Join(c.Source, "images", name), string(script))
	if err != nil {
		return err
	}
	archive := c.Cache("images", name+".tar")
	if !isBuilt(archive, sum) {
		if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
			return err
		}
		err := c.Step(ctx, "build image "+name, "20 s", func(ctx context.Context, log io.Writer) error {
			return run(ctx, log, "", nil, builder, name, archive)
		})
		if err != nil {
			return err
		}
		if err := markBuilt(archive, sum); err != nil {
			return err
		}
	}
	imported := c.path("node", "images", name)
	ref, err := os.ReadFile(filepath.Join(c.Source, "images", name, "ref"))
	if err != nil {
		return err
	}
	reference, _, _ := strings.Cut(string(ref), "\n")
	if stamp, _ := os.ReadFile(imported); string(stamp) == sum && slices.Contains(present, reference) {
		return nil
	}
	if err := c.importArchive(ctx, archive); err != nil {
		return err
	}
	return writeFile(imported, sum, 0o644)
}

// importArchive hands an OCI archive or a docker tar to containerd, as the kubelet's images.
func (c *Cluster) importArchive(ctx context.Context, path string) error {
	archive, err := os.Open(path)
	if err != nil {
		return err
	}
	defer archive.Close()
	// By standard input: the box does not see every file of the host.
	cmd, err := c.inBox(ctx, "ctr", "--namespace", "k8s.io", "images", "import", "--digests=false", "-")
	if err != nil {
		return err
	}
	cmd.Stdin = archive
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w\n%s", path, err, indent(string(out)))
	}
	fmt.Printf("imported %s\n", path)
	return nil
}
