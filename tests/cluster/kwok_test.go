package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFakeNodesHoldTenThousandPodsAndOnlyThoseThatAsk(t *testing.T) {
	manifest, err := fakeNodesManifest()
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct {
				Name                string
				Annotations, Labels map[string]string
			}
			Spec struct {
				Taints []struct{ Key, Value, Effect string }
			}
			Status struct{ Allocatable struct{ Pods json.Number } }
		}
	}
	if err := json.Unmarshal(manifest, &list); err != nil {
		t.Fatal(err)
	}
	room, names := int64(0), []string{}
	for _, item := range list.Items {
		if item.Kind != "Node" {
			continue
		}
		pods, err := item.Status.Allocatable.Pods.Int64()
		if err != nil {
			t.Fatal(err)
		}
		room += pods
		names = append(names, item.Metadata.Name)
		taints := item.Spec.Taints
		if len(taints) != 1 || taints[0].Effect != "NoSchedule" || taints[0].Key != fakeMark || taints[0].Value != fakeValue {
			t.Errorf("%s: taints %v", item.Metadata.Name, taints)
		}
		if item.Metadata.Annotations[fakeMark] != fakeValue || item.Metadata.Labels[fakeMark] != fakeValue {
			t.Errorf("%s: kwok would not take it, or no Pod could select it", item.Metadata.Name)
		}
	}
	slices.Sort(names)
	if room < 10_000 || len(slices.Compact(names)) != fakeNodes {
		t.Errorf("room for %d Pods on the nodes %v", room, names)
	}
}

func TestKwokReadsItsStagesInsideTheNode(t *testing.T) {
	c := testCluster(t)
	module := t.TempDir()
	if _, err := fakeStages(c, module); err == nil {
		t.Error("stages that the module does not have were not missed")
	}
	for _, name := range []string{
		"node/fast/node-initialize", "node/heartbeat-with-lease/node-heartbeat-with-lease",
		"pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete",
	} {
		if err := writeFile(filepath.Join(module, name+".yaml"), "kind: Stage # "+name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stages, err := fakeStages(c, module)
	if err != nil {
		t.Fatal(err)
	}
	program := kwokProgram("/bin/kwok", c.pki("kwok.kubeconfig"), stages)
	one := c.digestFiles(program.Args)
	for _, stage := range stages {
		if !slices.Contains(program.Args, "--config="+stage) || !strings.HasPrefix(stage, c.Etc("")) {
			t.Errorf("kwok is not told of %s", stage)
		}
	}
	if err := os.WriteFile(stages[0], []byte("kind: Other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c.digestFiles(program.Args) == one {
		t.Error("a changed stage does not restart kwok")
	}
}
