// kwok, for load tests: fake nodes beside the real one, whose Pods turn Ready without any container.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

var kwok = goProgram{Module: "sigs.k8s.io/kwok", Version: "v0.8.0", Package: "cmd/kwok", Program: "kwok"}

var kwokAddOn = AddOn{Name: "kwok", Up: kwokUp, Down: kwokDown, Well: kwokWell, Try: kwokTry}

const (
	// fakeMark is kwok's own key and value: of the annotation by which it knows its nodes, and here also
	// of the label by which a Pod selects them and of the taint that it then has to tolerate.
	fakeMark, fakeValue = "kwok.x-k8s.io/node", "fake"
	// Room for 20,000 Pods: 10,000, and as many that are on their way out.
	fakeNodes, podsPerFakeNode = 20, 1000
	// fakePods is where the Pods' addresses come from, of which none exists: the range for benchmarks (RFC 2544).
	fakePods = "198.18.0.1/15"
)

func kwokUp(ctx context.Context, c *Cluster) error {
	program, err := kwok.ensure(ctx, c)
	if err != nil {
		return err
	}
	return c.Step(ctx, "start kwok", "5 s", func(ctx context.Context, log io.Writer) error {
		module, err := downloadModule(ctx, log, kwok.Module, kwok.Version)
		if err != nil {
			return err
		}
		kubeconfig, err := c.Kubeconfig("kwok", "kwok")
		if err != nil {
			return err
		}
		manifest, err := fakeNodesManifest()
		if err != nil {
			return err
		}
		// A Node's status is applied apart from the rest.
		for _, part := range [][]string{nil, {"--subresource=status", "--selector=" + fakeMark + "=" + fakeValue}} {
			args := append([]string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, part...)
			if err := c.Kubectl(ctx, log, bytes.NewReader(manifest), args...); err != nil {
				return err
			}
		}
		stages, err := fakeStages(c, filepath.Join(module, "kustomize", "stage"))
		if err != nil {
			return err
		}
		if err := c.Ensure(ctx, kwokProgram(program, kubeconfig, stages)); err != nil {
			return err
		}
		return c.Kubectl(ctx, log, nil, "wait", "--for=condition=Ready", "--timeout=60s", "nodes", "--selector="+fakeMark+"="+fakeValue)
	})
}

// kwokDown removes the fake nodes; the Pods on them are then the garbage collector's.
func kwokDown(ctx context.Context, c *Cluster) error {
	running, err := c.programs(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(running, func(p Status) bool { return p.Name == "kwok" }) {
		return nil
	}
	return c.Step(ctx, "remove kwok", "5 s", func(ctx context.Context, log io.Writer) error {
		manifest, err := fakeNodesManifest()
		if err != nil {
			return err
		}
		if err := c.Kubectl(ctx, log, bytes.NewReader(manifest), "delete", "--ignore-not-found", "-f", "-"); err != nil {
			return err
		}
		return c.Remove(ctx, "kwok")
	})
}

// kwokWell looks at the lease of the last of the fake nodes.
func kwokWell(ctx context.Context, c *Cluster) error {
	return c.get(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"+fakeNodeName(fakeNodes-1), &struct{}{})
}

func kwokProgram(program, kubeconfig string, stages []string) Program {
	args := []string{
		program,
		"--kubeconfig=" + kubeconfig,
		"--manage-nodes-with-annotation-selector=" + fakeMark + "=" + fakeValue,
		"--cidr=" + fakePods,
		// Without leases the nodes count as dead after 40 s, and their Pods as not ready.
		"--node-lease-duration-seconds=40",
		"--server-address=127.0.0.1:10247",
	}
	for _, stage := range stages {
		args = append(args, "--config="+stage)
	}
	return Program{Name: "kwok", Args: args, Ready: "http://127.0.0.1:10247/healthz"}
}

// fakeStages copies what a fake node and its Pods go through to where the node sees it; returns the files.
func fakeStages(c *Cluster, module string) ([]string, error) {
	var copies []string
	for _, stage := range []string{
		"node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease",
		"pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete",
	} {
		text, err := os.ReadFile(filepath.Join(module, filepath.FromSlash(stage)+".yaml"))
		if err != nil {
			return nil, err
		}
		path := c.Etc("kwok/" + filepath.Base(stage) + ".yaml")
		if err := writeFile(path, string(text), 0o644); err != nil {
			return nil, err
		}
		copies = append(copies, path)
	}
	return copies, nil
}

func fakeNodeName(i int) string { return fmt.Sprintf("fake%02d", i+1) }

// fakeNodesManifest has the nodes, and what kwok may do, as one List.
func fakeNodesManifest() ([]byte, error) {
	type object = map[string]any
	rule := func(group string, resources, verbs []string) object {
		return object{"apiGroups": []string{group}, "resources": resources, "verbs": verbs}
	}
	look, write := []string{"get", "list", "watch"}, []string{"patch", "update"}
	items := []object{
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": "kwok"},
			"rules": []object{
				rule("", []string{"nodes", "pods"}, look),
				rule("", []string{"nodes/status", "pods/status"}, write),
				rule("", []string{"pods"}, append([]string{"delete"}, write...)),
				rule("", []string{"events"}, append([]string{"create"}, write...)),
				rule("coordination.k8s.io", []string{"leases"}, slices.Concat([]string{"create"}, look, write)),
			},
		},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": "kwok"},
			"roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kwok"},
			// The name in the certificate of its kubeconfig.
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kwok"}},
		},
	}
	for i := range fakeNodes {
		room := object{"cpu": "1k", "memory": "1Ti", "pods": fmt.Sprint(podsPerFakeNode)}
		items = append(items, object{
			"apiVersion": "v1", "kind": "Node",
			"metadata": object{
				"name":        fakeNodeName(i),
				"annotations": object{fakeMark: fakeValue},
				"labels":      object{fakeMark: fakeValue, "kubernetes.io/hostname": fakeNodeName(i)},
			},
			// What does not ask for a fake node does not get there.
			"spec":   object{"taints": []object{{"key": fakeMark, "value": fakeValue, "effect": "NoSchedule"}}},
			"status": object{"allocatable": room, "capacity": room},
		})
	}
	return json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": items})
}

func kwokTry(*Cluster) []string {
	return []string{"kubectl get nodes --selector=" + fakeMark + "=" + fakeValue}
}
