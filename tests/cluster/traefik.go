// Traefik, the default gateway: Gateway API and Ingress on the node's address, ports 80 and 443.
package main

import (
	"context"
	"fmt"
	"io"
)

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
		if err := c.Kubectl(ctx, log, nil, "apply", "--server-side", "--force-conflicts", "-f", c.gatewayManifest("traefik.yaml")); err != nil {
			return err
		}
		if err := ensureTLSSecrets(ctx, c, log); err != nil {
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
			// An Ingress's TLS section gives a certificate; that port 443 speaks TLS is said here.
			"--entryPoints.websecure.http.tls=true",
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

func traefikTry(c *Cluster) []string {
	return []string{
		fmt.Sprintf("http://ANY.localhost:%d/", c.Ports.HTTP),
		fmt.Sprintf("curl --cacert %s https://ANY.%s:%d/", c.authority(), tlsDomain, c.Ports.HTTPS),
	}
}
