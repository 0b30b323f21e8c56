// The configuration files of the node's programs, rendered from config/.
package main

import (
	"embed"
	"encoding/base64"
	"os"
	"strings"
	"text/template"
)

//go:embed config
var configFiles embed.FS

// render fills one of the templates in config/.
func render(name string, values any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(configFiles, "config/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, values)
	return b.String(), err
}

func (c *Cluster) writeConfigs() error {
	values := map[string]any{"Dir": c.Dir, "Net": c.Net, "Cgroup": c.Net.cgroup(), "Node": nodeName}
	for template, path := range map[string]string{
		"kubelet.yaml":      c.Etc("kubelet.yaml"),
		"kube-proxy.yaml":   c.Etc("kube-proxy.yaml"),
		"containerd.toml":   c.Etc("containerd.toml"),
		"audit-policy.yaml": c.Etc("audit-policy.yaml"),
		"cni.conflist":      c.Etc("cni/pods.conflist"),
	} {
		text, err := render(template, values)
		if err != nil {
			return err
		}
		if err := writeFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return writeFile(c.Etc("resolv.conf"), "", 0o644)
}

// Kubeconfig writes pki/NAME.kubeconfig for a user with the given groups and returns its path.
func (c *Cluster) Kubeconfig(name, user string, groups ...string) (string, error) {
	path := c.pki(name + ".kubeconfig")
	return path, c.writeKubeconfig(path, name, user, groups)
}

func (c *Cluster) writeKubeconfig(path, name, user string, groups []string) error {
	if err := c.ensureCertificate(certificate{name: name, user: user, groups: groups}); err != nil {
		return err
	}
	values := map[string]string{"Server": c.Net.apiServer(), "User": name}
	for key, file := range map[string]string{"CA": "ca.crt", "Cert": name + ".crt", "Key": name + ".key"} {
		b, err := os.ReadFile(c.pki(file))
		if err != nil {
			return err
		}
		values[key] = base64.StdEncoding.EncodeToString(b)
	}
	text, err := render("kubeconfig.yaml", values)
	if err != nil {
		return err
	}
	return writeFile(path, text, 0o600)
}
