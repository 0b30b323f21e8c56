// status, and what else asks the running cluster how it is.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// status prints the state of everything and fails if something is not well.
func (c *Cluster) status(ctx context.Context) error {
	box := c.box()
	if box == 0 {
		return c.errNoNode()
	}
	programs, err := c.programs(ctx)
	if err != nil {
		return fmt.Errorf("%w; `cluster up` repairs it", err)
	}
	bad := 0
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROGRAM\tSTATE\tPID\tFOR\tRESTARTS\tLAST EXIT")
	for _, st := range programs {
		state := "ready"
		if st.NotReady != "" {
			state = st.NotReady
			bad++
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\n", st.Name, state, st.Pid, time.Since(st.Since).Round(time.Second), st.Restarts, st.LastExit)
	}
	w.Flush()
	node := "Ready"
	if why := c.nodeNotReady(ctx); why != nil {
		node = why.Error()
		bad++
	}
	if !linkExists(c.Net.interfaceName()) {
		node += "; the link to it is gone"
		bad++
	}
	all, err := readClaims(c.Net.Index)
	if err != nil {
		return err
	}
	if other := all.holder(c.Net.Index, c.Dir); other != "" {
		node += "; the cluster in " + other + " has its addresses"
		bad++
	}
	fmt.Printf(`
node %s: %s
addresses: API server %s, node %s, second %s, host %s; Pods %s, Services %s
localhost:%d reaches the node's HTTP, localhost:%d its HTTPS
the node's first process is %d on the host; state and logs are in %s
`, nodeName, node, c.Net.apiServer(), c.Net.Node, c.Net.Second, c.Net.Host, c.Net.Pods, c.Net.Services,
		c.Ports.HTTP, c.Ports.HTTPS, box, c.Dir)
	fmt.Printf("try: . %s; kubectl get pods -A\n", c.path("env"))
	names, _ := os.ReadFile(c.path("addons"))
	chosen, err := pickAddOns(addOns, strings.Fields(string(names)))
	if err != nil {
		return err
	}
	for _, a := range chosen {
		if a.Try != nil {
			for _, line := range a.Try(c) {
				fmt.Println("     " + line)
			}
		}
	}
	if bad > 0 {
		return errors.New("something is not well, see above; `cluster up` repairs, `cluster logs PROGRAM` tells more")
	}
	if len(programs) == 0 {
		return errors.New("the node runs no programs yet; `cluster up` starts them")
	}
	return nil
}

// get asks the API server as administrator.
func (c *Cluster) get(ctx context.Context, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	authority, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.pki("admin.crt"), c.pki("admin.key"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		DialContext:       c.Net.dialer().DialContext,
	}}
	req, err := http.NewRequestWithContext(ctx, "GET", c.Net.apiServer()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "ephemeron-cluster")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server answers %s for %s", resp.Status, path)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// nodeNotReady says why Pods cannot run yet, nil if they can.
func (c *Cluster) nodeNotReady(ctx context.Context) error {
	programs, err := c.programs(ctx)
	if err != nil {
		return err
	}
	var kubelet time.Time
	for _, st := range programs {
		if st.Name == "kubelet" && st.Pid != 0 {
			kubelet = st.Since
		}
	}
	var node struct {
		Status struct {
			Conditions []struct {
				Type, Status, Message string
				LastHeartbeatTime     time.Time
			}
		}
	}
	if err := c.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
		return err
	}
	ready := errors.New("the kubelet has not reported yet")
	for _, cond := range node.Status.Conditions {
		if cond.Type != "Ready" {
			continue
		}
		if cond.Status != "True" {
			ready = errors.New(cond.Message)
		} else if !cond.LastHeartbeatTime.Before(kubelet.Truncate(time.Second)) {
			ready = nil // else it is what an earlier kubelet said
		}
	}
	if ready != nil {
		return ready
	}
	// Without it no Pod is admitted; the controller manager makes it.
	return c.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", &struct{}{})
}

func (c *Cluster) waitNode(ctx context.Context) error {
	var why error
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); {
		if why = c.nodeNotReady(ctx); why == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return withLog(fmt.Errorf("node %s is not ready after %s: %w", nodeName, readyTimeout, why), c.Log("kubelet"))
}

// waitStopped waits until a stopped program's process has ended.
func (c *Cluster) waitStopped(ctx context.Context, name string) error {
	for {
		programs, err := c.programs(ctx)
		if err != nil {
			return err
		}
		running := false
		for _, st := range programs {
			running = running || st.Name == name && st.Pid != 0
		}
		if !running {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
