// The gateways' certificate: whom it is for, and the Secrets that hold it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
)

// tlsDomain is the domain whose hosts the gateways serve by HTTPS. Clients reject a wildcard right below the top.
const tlsDomain = "eph.localhost"

// tlsSecrets are where the certificate is wanted: beside the Gateways, and where tests have their Ingresses.
var tlsSecrets = []struct{ namespace, name string }{{"gateways", "eph-localhost"}, {"default", "eph-tls"}}

// authority is the file with the certificate that clients of the gateways have to trust.
func (c *Cluster) authority() string { return c.pki("ca.crt") }

// ensureTLSSecrets applies the certificate of *.eph.localhost, signed by the cluster's authority.
func ensureTLSSecrets(ctx context.Context, c *Cluster, log io.Writer) error {
	// An address makes it a server's.
	want := certificate{name: "gateway", user: "gateway", hosts: []string{"*." + tlsDomain, tlsDomain}, addresses: []netip.Addr{c.Net.Node}}
	if err := c.ensureCertificate(want); err != nil {
		return err
	}
	var manifests bytes.Buffer
	for _, secret := range tlsSecrets {
		manifest, err := tlsSecret(secret.namespace, secret.name, c.pki("gateway.crt"), c.pki("gateway.key"))
		if err != nil {
			return err
		}
		manifests.Write(append(manifest, '\n'))
	}
	return c.Kubectl(ctx, log, &manifests, "apply", "--server-side", "--force-conflicts", "-f", "-")
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
