// Traefik, the default gateway: Gateway API and Ingress on the node's address, ports 80 and 443.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
)

// tlsDomain is the domain whose hosts Traefik serves by HTTPS too.
const tlsDomain = "eph.localhost"

var traefikAddOn = AddOn{Name: "traefik", Up: traefikUp, Down: traefikDown, Well: isProgrammed("traefik"), Try: traefikTry}

func traefikUp(ctx context.Context, c *Cluster) error {
	program, err := traefik.ensure(ctx, c)
	if err != nil {
		return err
	}
	return c.Step(ctx, "start traefik", "5 s", func(ctx context.Context, log io.Writer) error {
		if err := ensureGatewayAPI(ctx, c, log); err != nil {
			return err
		}
		if err := c.Kubectl(ctx, log, nil, "apply", "--server-side", "-f", c.gatewayManifest("traefik.yaml")); err != nil {
			return err
		}
		if err := ensureTLSSecret(ctx, c, log); err != nil {
			return err
		}
		kubeconfig, err := c.Kubeconfig("traefik", "traefik")
		if err != nil {
			return err
		}
		if err := c.Ensure(ctx, traefikProgram(c, program, kubeconfig)); err != nil {
			return err
		}
		return waitForGateway(ctx, c, log, "traefik")
	})
}

func traefikDown(ctx context.Context, c *Cluster) error {
	return takeDown(ctx, c, "traefik.yaml", "traefik")
}

func traefikProgram(c *Cluster, program, kubeconfig string) Program {
	return Program{
		Name: "traefik",
		Args: []string{
			program,
			// The node's first address only: the second is another gateway's.
			fmt.Sprintf("--entryPoints.web.address=%s:80", c.Net.Node),
			fmt.Sprintf("--entryPoints.websecure.address=%s:443", c.Net.Node),
			"--entryPoints.ping.address=127.0.0.1:9080",
			"--ping=true",
			"--ping.entryPoint=ping",
			"--providers.kubernetesgateway=true",
			"--providers.kubernetesgateway.statusaddress.ip=" + c.Net.Node.String(),
			// Its own 50 requests per second would be what a load test measures.
			"--providers.kubernetesgateway.qps=200",
			"--providers.kubernetesgateway.burst=400",
			// No ingressendpoint: writing every Ingress's status would hold up its routes.
			"--providers.kubernetesingress=true",
			// Routes change as soon as they are known, not 2 s later.
			"--providers.providersthrottleduration=100ms",
			"--log.level=INFO",
			"--log.noColor=true",
			"--global.checkNewVersion=false",
			"--global.sendAnonymousUsage=false",
		},
		Env:   []string{"KUBECONFIG=" + kubeconfig},
		Files: []string{kubeconfig},
		Ready: "http://127.0.0.1:9080/ping",
	}
}

// ensureTLSSecret applies the HTTPS listener's certificate, signed by the cluster's authority.
func ensureTLSSecret(ctx context.Context, c *Cluster, log io.Writer) error {
	// An address makes it a server's.
	want := certificate{name: "gateway", user: "gateway", hosts: []string{"*." + tlsDomain, tlsDomain}, addresses: []netip.Addr{c.Net.Node}}
	if err := c.ensureCertificate(want); err != nil {
		return err
	}
	manifest, err := tlsSecret("gateways", "eph-localhost", c.pki("gateway.crt"), c.pki("gateway.key"))
	if err != nil {
		return err
	}
	return c.Kubectl(ctx, log, bytes.NewReader(manifest), "apply", "--server-side", "-f", "-")
}

// tlsSecret is the manifest of a Secret with a certificate and its key.
func tlsSecret(namespace, name, certificate, key string) ([]byte, error) {
	certificatePEM, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]string{"namespace": namespace, "name": name},
		"type":       "kubernetes.io/tls",
		"data":       map[string][]byte{"tls.crt": certificatePEM, "tls.key": keyPEM},
	})
}

func traefikTry(c *Cluster) []string {
	return []string{
		fmt.Sprintf("http://ANY.localhost:%d/", c.Ports.HTTP),
		fmt.Sprintf("curl --cacert %s https://ANY.%s:%d/", c.pki("ca.crt"), tlsDomain, c.Ports.HTTPS),
	}
}
