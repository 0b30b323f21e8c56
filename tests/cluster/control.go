// How the tool talks to the supervisor: HTTP on a Unix socket; both ends, and the readiness checks.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serve answers on the socket until ctx ends.
func (s *supervisor) serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /programs", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(s.statuses(r.Context()))
	})
	mux.HandleFunc("PUT /programs/{name}", func(w http.ResponseWriter, r *http.Request) {
		var p Program
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil || p.Name != r.PathValue("name") || len(p.Args) == 0 {
			http.Error(w, "not a program", http.StatusBadRequest)
			return
		}
		s.ensure(p)
	})
	mux.HandleFunc("DELETE /programs/{name}", func(w http.ResponseWriter, r *http.Request) { s.remove(r.PathValue("name")) })
	act := func(do func(name string, r *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.PathValue("name"), r); err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
			}
		}
	}
	mux.HandleFunc("POST /programs/{name}/start", act(func(name string, _ *http.Request) error { return s.setWanted(name, true) }))
	mux.HandleFunc("POST /programs/{name}/stop", act(func(name string, _ *http.Request) error { return s.setWanted(name, false) }))
	mux.HandleFunc("POST /programs/{name}/signal", act(func(name string, r *http.Request) error {
		n, err := strconv.Atoi(r.URL.Query().Get("number"))
		if err != nil {
			return err
		}
		return s.signal(name, syscall.Signal(n))
	}))
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// control sends one request to the supervisor.
func (c *Cluster) control(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var send bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&send).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, &send)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the node's supervisor: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the node's supervisor: %s", strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// programs returns what the supervisor runs.
func (c *Cluster) programs(ctx context.Context) ([]Status, error) {
	var all []Status
	err := c.control(ctx, "GET", "/programs", nil, &all)
	return all, err
}

// readyTimeout is how long a program may take from its start to ready, on a machine busy with other things.
const readyTimeout = 10 * time.Minute

// Ensure makes programs run inside the node as given and returns when they are ready.
func (c *Cluster) Ensure(ctx context.Context, programs ...Program) error {
	for _, p := range programs {
		p.Digest = c.digestFiles(slices.Concat(p.Args, p.Files))
		if err := c.control(ctx, "PUT", "/programs/"+url.PathEscape(p.Name), p, nil); err != nil {
			return err
		}
	}
	for _, p := range programs {
		if err := c.waitReady(ctx, p.Name); err != nil {
			return withLog(err, c.Log(p.Name))
		}
	}
	return nil
}

// digestFiles hashes the configuration files and certificates named in a
// command line, and what the program itself was built from.
func (c *Cluster) digestFiles(args []string) string {
	h := sha256.New()
	if binary, err := filepath.EvalSymlinks(args[0]); err == nil {
		stamp, _ := os.ReadFile(binary + ".sum")
		h.Write(stamp)
	}
	for _, arg := range args {
		if _, value, ok := strings.Cut(arg, "="); ok {
			arg = value
		}
		if !strings.HasPrefix(arg, c.Etc("")+"/") && !strings.HasPrefix(arg, c.pki("")+"/") {
			continue
		}
		b, _ := os.ReadFile(arg) // one that the program makes itself is not there yet
		fmt.Fprintf(h, "%s %d\n", arg, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Remove stops a program and makes the supervisor forget it.
func (c *Cluster) Remove(ctx context.Context, name string) error {
	return c.control(ctx, "DELETE", "/programs/"+url.PathEscape(name), nil, nil)
}

func (c *Cluster) waitReady(ctx context.Context, name string) error {
	why := ""
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); {
		all, err := c.programs(ctx)
		why = "the supervisor does not know it"
		if err != nil {
			if c.box() == 0 {
				return err
			}
			why = err.Error()
		}
		for _, st := range all {
			if st.Name == name {
				why = st.NotReady
			}
		}
		if why == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready after %s: %s", name, readyTimeout, why)
}

// readyClient makes the readiness checks; whose certificate answers does not matter there.
var readyClient = http.Client{Transport: &http.Transport{
	DisableKeepAlives: true,
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
}}

// checkReady makes one readiness check, see Program.Ready.
func checkReady(ctx context.Context, check string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if check == "" {
		return nil
	}
	if kind, address, _ := strings.Cut(check, ":"); kind == "tcp" || kind == "unix" {
		conn, err := (&net.Dialer{}).DialContext(ctx, kind, address)
		if err == nil {
			conn.Close()
		}
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "GET", check, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "ephemeron-cluster")
	resp, err := readyClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", check, resp.Status)
	}
	return nil
}
