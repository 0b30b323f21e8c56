// Tests of the gateways: their parts anywhere, their answers where the env file of a running cluster is sourced.
package main

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUnzipProgram(t *testing.T) {
	folder := t.TempDir()
	archive := filepath.Join(folder, "a.whl")
	file, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	writer := zip.NewWriter(file)
	for name, content := range map[string]string{"a-1.data/scripts/a": "program", "a-1.dist-info/METADATA": "text"} {
		entry, err := writer.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(entry, content)
	}
	if err := errors.Join(writer.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}

	program := filepath.Join(folder, "bin", "a")
	if err := unzipProgram(archive, "b", filepath.Join(folder, "b")); err == nil || !strings.Contains(err.Error(), "no file called b") {
		t.Errorf("got %v", err)
	}
	if err := unzipProgram(archive, "a", filepath.Join(folder, "a")); err != nil {
		t.Fatal(err)
	}
	if err := install(filepath.Join(folder, "a"), program); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(program)
	info, err := os.Stat(program)
	if err != nil || string(content) != "program" || info.Mode().Perm() != 0o755 {
		t.Errorf("got %q %v %v", content, info.Mode(), err)
	}
}

// gateway is how the tests reach one.
type gateway struct{ httpAddress, httpsAddress string }

func TestGatewaysAnswer(t *testing.T) {
	if os.Getenv("NODE_ADDRESS") == "" {
		t.Skip("needs a running cluster: source its env file")
	}
	c, err := openCluster()
	if err != nil {
		t.Fatal(err)
	}
	// Without the node its addresses would be somebody else's.
	if c.box() == 0 {
		t.Fatalf("the cluster in %s is not running: `cluster up` starts it", c.Dir)
	}
	node, second := c.Net.Node.String(), c.Net.Second.String()
	traefik := gateway{node + ":80", node + ":443"}
	loopback := gateway{fmt.Sprintf("127.0.0.1:%d", c.Ports.HTTP), fmt.Sprintf("127.0.0.1:%d", c.Ports.HTTPS)}
	contour := gateway{second + ":80", second + ":443"}

	kubectl(t, "apply", "--server-side", "-f", "testdata/gateways.yaml")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "gateways-test", "--wait=false") })
	kubectl(t, "wait", "--namespace=gateways-test", "--for=condition=Ready", "--timeout=60s", "pod/server", "pod/nginx")

	authority, err := os.ReadFile(c.authority())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	hasContour := exec.Command("kubectl", "get", "gateway/contour", "--namespace=gateways").Run() == nil

	for _, test := range []struct {
		name      string
		gateway   gateway
		url       string
		websocket bool
		code      int
		body      string
	}{
		{"HTTPRoute on Traefik", traefik, "http://gateways-test.localhost/", true, 200, "it answers"},
		{"HTTPRoute on Traefik by loopback", loopback, "http://gateways-test.localhost/", true, 200, "it answers"},
		{"nginx on Traefik", traefik, "http://gateways-test-nginx.localhost/", false, 200, "<h1>Welcome to nginx!</h1>"},
		{"Ingress on Traefik", traefik, "http://gateways-test-ingress.localhost/", true, 200, "it answers"},
		{"HTTPS on Traefik", traefik, "https://gateways-test.eph.localhost/", false, 200, "it answers"},
		{"HTTPS on Traefik by loopback", loopback, "https://gateways-test.eph.localhost/", false, 200, "it answers"},
		{"HTTPS by Ingress on Traefik", traefik, "https://gateways-test-ingress.eph.localhost/", false, 200, "it answers"},
		{"unknown host on Traefik", traefik, "http://nobody.localhost/", false, 404, ""},
		{"HTTPRoute on Contour", contour, "http://gateways-test.contour.localhost/", true, 200, "it answers"},
		{"HTTPS on Contour", contour, "https://gateways-test-contour.eph.localhost/", false, 200, "it answers"},
		{"unknown host on Contour", contour, "http://nobody.contour.localhost/", false, 404, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.gateway == contour && !hasContour {
				t.Skip("this cluster is up without Contour")
			}
			waitForAnswer(t, test.gateway, pool, test.url, test.code, test.body)
			if test.websocket {
				host := strings.Trim(strings.TrimPrefix(test.url, "http:"), "/")
				if err := echoByWebSocket(test.gateway.httpAddress, host, "hello"); err != nil {
					t.Errorf("WebSocket: %v", err)
				}
			}
		})
	}
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("kubectl", args...).CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// waitForAnswer asks until the answer is as wanted: a gateway learns of a route a moment after the API server.
func waitForAnswer(t *testing.T, g gateway, pool *x509.CertPool, url string, code int, body string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := g.httpAddress
			if strings.HasSuffix(address, ":443") {
				to = g.httpsAddress
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}}
	last := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		response, err := client.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		content, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode == code && strings.Contains(string(content), body) {
			return
		}
		last = fmt.Sprintf("%s %q", response.Status, content)
	}
	t.Fatalf("%s never answered %d %q; at last: %s", url, code, body, last)
}

// echoByWebSocket sends one short text and wants it back.
func echoByWebSocket(address, host, text string) error {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("got %s, want 101", response.Status)
	}
	// A whole text frame; the client's are masked, here with zeros.
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	answer := make([]byte, 2+len(text))
	if _, err := io.ReadFull(reader, answer); err != nil {
		return err
	}
	if answer[0] != 0x81 || string(answer[2:]) != text {
		return fmt.Errorf("got the frame %q, want the text %q back", answer, text)
	}
	return nil
}
