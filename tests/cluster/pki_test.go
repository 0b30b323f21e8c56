package main

import (
	"crypto/x509"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func testCluster(t *testing.T) *Cluster {
	return &Cluster{Dir: t.TempDir(), Net: newNetwork(firstIndex), Ports: Ports{80, 443}}
}

func TestPKI(t *testing.T) {
	c := testCluster(t)
	if err := c.ensurePKI(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	authority, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(authority) {
		t.Fatal("no authority", err)
	}
	server, err := readCertificate(c.pki("apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "kubernetes.default.svc", "127.0.0.1", c.Net.Node.String(), c.Net.API.String()} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("the API server's certificate is not good for %s: %v", name, err)
		}
	}
	node, err := readCertificate(c.pki("kubelet-client.crt"))
	if err != nil || node.Subject.String() != "CN=system:node:node1,O=system:nodes" {
		t.Errorf("the kubelet is %v, %v", node.Subject, err)
	}

	// Made once, and again only where something is missing or says something else.
	before := readAll(t, c, "apiserver.crt", "admin.crt", "service-account.key")
	if err := c.ensurePKI(); err != nil {
		t.Fatal(err)
	}
	if after := readAll(t, c, "apiserver.crt", "admin.crt", "service-account.key"); after != before {
		t.Error("a second run changed what was good")
	}
	os.Remove(c.pki("admin.key"))
	c.Net.Node = netip.MustParseAddr("10.9.9.9")
	if err := c.ensurePKI(); err != nil {
		t.Fatal(err)
	}
	server, err = readCertificate(c.pki("apiserver.crt"))
	if err != nil || server.VerifyHostname("10.9.9.9") != nil {
		t.Error("the certificate does not follow the node's address", err)
	}
	if _, err := readKey(c.pki("admin.key")); err != nil {
		t.Error(err)
	}
	os.Remove(c.pki("ca.key"))
	if err := c.ensurePKI(); err != nil {
		t.Fatal(err)
	}
	authorityNow, _ := readCertificate(c.pki("ca.crt"))
	server, _ = readCertificate(c.pki("apiserver.crt"))
	if err := server.CheckSignatureFrom(authorityNow); err != nil {
		t.Errorf("a new authority did not sign anew: %v", err)
	}
	kubeconfig, _ := os.ReadFile(c.kubeconfig())
	if !strings.Contains(string(kubeconfig), "server: https://10.9.9.9:6443") {
		t.Errorf("kubeconfig:\n%s", kubeconfig)
	}
}

func readAll(t *testing.T, c *Cluster, names ...string) string {
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(c.pki(name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
