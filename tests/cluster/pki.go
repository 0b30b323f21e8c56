// The cluster's certificates: one authority, and what it signs. Each is made when missing or no longer right.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Clusters of this kind live for hours; ten years is "never" here.
const certificateLife = 10 * 365 * 24 * time.Hour

// certificate is what one certificate should say; with hosts it is a server's too.
type certificate struct {
	name      string // of its files
	user      string // CN
	groups    []string
	hosts     []string
	addresses []netip.Addr
}

// ensurePKI makes the authority, the service account key, the servers' certificates and every program's kubeconfig.
func (c *Cluster) ensurePKI() error {
	if err := os.MkdirAll(c.path("pki"), 0o700); err != nil {
		return err
	}
	if err := c.ensureAuthority(); err != nil {
		return err
	}
	if err := ensureKey(c.pki("service-account.key")); err != nil {
		return err
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, cert := range []certificate{
		{name: "apiserver", user: "kube-apiserver",
			hosts:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			addresses: []netip.Addr{loopback, c.Net.Node, c.Net.API}},
		{name: "kubelet", user: "kubelet",
			hosts: []string{nodeName}, addresses: []netip.Addr{loopback, c.Net.Node}},
		{name: "apiserver-kubelet-client", user: "kube-apiserver", groups: []string{"system:masters"}},
	} {
		if err := c.ensureCertificate(cert); err != nil {
			return err
		}
	}
	if _, err := c.Kubeconfig("kubelet-client", "system:node:"+nodeName, "system:nodes"); err != nil {
		return err
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if _, err := c.Kubeconfig(name, "system:"+name); err != nil {
			return err
		}
	}
	return c.writeKubeconfig(c.kubeconfig(), "admin", "kubernetes-admin", []string{"system:masters"})
}

func (c *Cluster) ensureAuthority() error {
	if cert, err := readCertificate(c.pki("ca.crt")); err == nil && cert.IsCA && stillValid(cert) {
		if _, err := readKey(c.pki("ca.key")); err == nil {
			return nil
		}
	}
	key, err := writeKey(c.pki("ca.key"))
	if err != nil {
		return err
	}
	template := newTemplate("ephemeron-cluster")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return writeCertificate(c.pki("ca.crt"), template, template, key, key)
}

func (c *Cluster) ensureCertificate(want certificate) error {
	ca, err := readCertificate(c.pki("ca.crt"))
	if err != nil {
		return err
	}
	caKey, err := readKey(c.pki("ca.key"))
	if err != nil {
		return err
	}
	if have, err := readCertificate(c.pki(want.name + ".crt")); err == nil && want.matches(have) && have.CheckSignatureFrom(ca) == nil {
		if key, err := readKey(c.pki(want.name + ".key")); err == nil && key.PublicKey.Equal(have.PublicKey) {
			return nil
		}
	}
	key, err := writeKey(c.pki(want.name + ".key"))
	if err != nil {
		return err
	}
	template := newTemplate(want.user)
	template.Subject.Organization = want.groups
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(want.addresses) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	template.DNSNames = want.hosts
	for _, a := range want.addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	return writeCertificate(c.pki(want.name+".crt"), template, ca, key, caKey)
}

// matches says whether an existing certificate is still what is wanted.
func (want certificate) matches(have *x509.Certificate) bool {
	var addresses []netip.Addr
	for _, ip := range have.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		addresses = append(addresses, a.Unmap())
	}
	return have.Subject.CommonName == want.user &&
		slices.Equal(have.Subject.Organization, want.groups) &&
		slices.Equal(have.DNSNames, want.hosts) &&
		slices.Equal(addresses, want.addresses) &&
		stillValid(have)
}

func stillValid(cert *x509.Certificate) bool {
	return time.Until(cert.NotAfter) > 30*24*time.Hour && time.Now().After(cert.NotBefore)
}

func newTemplate(user string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // no randomness: nothing here can go on
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(certificateLife),
	}
}

func writeCertificate(path string, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return fmt.Errorf("sign %s: %w", path, err)
	}
	return writeFile(path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func ensureKey(path string) error {
	if _, err := readKey(path); err == nil {
		return nil
	}
	_, err := writeKey(path)
	return err
}

func writeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), 0o600)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	return x509.ParseECPrivateKey(der)
}

func readPEM(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}
