// Contour with Envoy, a second and independent gateway: Gateway API on the node's second address, ports 80 and 443.
package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
)

var contourAddOn = AddOn{Name: "contour", Up: contourUp, Down: contourDown, Well: isProgrammed("contour"), Try: contourTry}

func contourUp(ctx context.Context, c *Cluster) error {
	envoyProgram, err := envoy.ensure(ctx, c)
	if err != nil {
		return err
	}
	contourProgram, err := contour.ensure(ctx, c)
	if err != nil {
		return err
	}
	return c.Step(ctx, "start contour", "5 s", func(ctx context.Context, log io.Writer) error {
		if err := ensureGatewayAPI(ctx, c, log); err != nil {
			return err
		}
		module, err := downloadModule(ctx, log, contour.Module, contour.Version)
		if err != nil {
			return err
		}
		// Contour does not start without its own types, although nothing here uses them.
		if err := applyTypes(ctx, c, log, filepath.Join(module, "examples", "contour", "01-crds.yaml"),
			"contourconfigurations.projectcontour.io", "extensionservices.projectcontour.io",
			"httpproxies.projectcontour.io", "tlscertificatedelegations.projectcontour.io"); err != nil {
			return err
		}
		if err := c.Kubectl(ctx, log, nil, "apply", "--server-side", "--force-conflicts", "-f", c.gatewayManifest("contour.yaml")); err != nil {
			return err
		}
		if err := ensureTLSSecrets(ctx, c, log); err != nil {
			return err
		}
		kubeconfig, err := c.Kubeconfig("contour", "contour")
		if err != nil {
			return err
		}
		if err := writeFile(c.Etc("contour.yaml"), contourConfig, 0o644); err != nil {
			return err
		}
		if err := c.Ensure(ctx, contourServe(c, contourProgram, kubeconfig)); err != nil {
			return err
		}
		bootstrap := c.Etc("envoy.json")
		if err := run(ctx, log, c.Dir, nil, contourProgram, "bootstrap", bootstrap,
			"--xds-address=127.0.0.1", "--xds-port=8001", "--admin-address=/run/envoy-admin.sock"); err != nil {
			return err
		}
		if err := c.Ensure(ctx, envoyServe(envoyProgram, bootstrap)); err != nil {
			return err
		}
		if err := redirectToEnvoy(ctx, c); err != nil {
			return err
		}
		return waitForGateway(ctx, c, log, "contour")
	})
}

// contourDown leaves the redirection of the second address behind: to where nothing listens.
func contourDown(ctx context.Context, c *Cluster) error {
	return takeDown(ctx, c, "contour.yaml", "contour", "envoy")
}

// contourConfig is what Contour cannot be told by flags.
const contourConfig = `gateway:
  gatewayRef:
    namespace: gateways
    name: contour
`

func contourServe(c *Cluster, program, kubeconfig string) Program {
	return Program{
		Name: "contour",
		Args: []string{
			program, "serve",
			"--kubeconfig=" + kubeconfig,
			"--config-path=" + c.Etc("contour.yaml"),
			// Its Gateway's status address; without it the Gateway has none.
			"--ingress-status-address=" + c.Net.Second.String(),
			// Ingresses are Traefik's.
			"--ingress-class-name=contour",
			// Contour and Envoy talk over the node's loopback only.
			"--insecure", "--xds-address=127.0.0.1", "--xds-port=8001",
			"--stats-address=127.0.0.1",
			"--disable-leader-election",
			// It knows other versions of these types than the cluster has.
			"--disable-feature=tlsroutes", "--disable-feature=tcproutes", "--disable-feature=backendtlspolicies",
			// Its own few requests per second would be what a load test measures.
			"--kubernetes-client-qps=200", "--kubernetes-client-burst=400",
		},
		Ready: "tcp:127.0.0.1:8001",
	}
}

func envoyServe(program, bootstrap string) Program {
	return Program{
		Name: "envoy",
		Args: []string{program, "--config-path", bootstrap, "--service-cluster", "contour", "--service-node", "envoy",
			"--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"},
		// It answers once Contour has configured it.
		Ready: "http://127.0.0.1:8002/ready",
	}
}

// redirectToEnvoy makes ports 80 and 443 of the second address Envoy's: Contour has it listen on a Gateway's port + 8000.
func redirectToEnvoy(ctx context.Context, c *Cluster) error {
	nft, err := c.inBox(ctx, "nft", "-f", "-")
	if err != nil {
		return err
	}
	nft.Stdin = strings.NewReader(envoyRedirect(c.Net.Second))
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("redirect %s to Envoy with nft: %w: %s", c.Net.Second, err, out)
	}
	return nil
}

// envoyRedirect is a table that replaces its former self, so that it can be loaded again and again.
func envoyRedirect(address netip.Addr) string {
	return strings.ReplaceAll(`
table ip ephemeron-envoy
delete table ip ephemeron-envoy
table ip ephemeron-envoy {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		ip daddr ADDRESS tcp dport 80 dnat to ADDRESS:8080
		ip daddr ADDRESS tcp dport 443 dnat to ADDRESS:8443
	}
	chain output {
		type nat hook output priority -100;
		ip daddr ADDRESS tcp dport 80 dnat to ADDRESS:8080
		ip daddr ADDRESS tcp dport 443 dnat to ADDRESS:8443
	}
}
`, "ADDRESS", address.String())
}

func contourTry(c *Cluster) []string {
	return []string{
		fmt.Sprintf("curl -H 'Host: ANY.contour.localhost' http://%s/", c.Net.Second),
		fmt.Sprintf("curl --cacert %s --connect-to ::%s: https://ANY.%s/", c.authority(), c.Net.Second, tlsDomain),
	}
}
