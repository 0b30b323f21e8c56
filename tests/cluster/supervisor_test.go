package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// The supervisor waits for every child of its process, so it gets a process of its own here.
func TestSupervisor(t *testing.T) {
	if os.Getenv("SUPERVISOR_TEST") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSupervisor$", "-test.v")
		cmd.Env = append(os.Environ(), "SUPERVISOR_TEST=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	c := testCluster(t)
	for _, dir := range []string{c.path("logs"), c.path("run")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go newSupervisor(c).serve(ctx, c.socket())
	// until waits for a state of the program named sleeper.
	until := func(what string, is func(Status) bool) (last Status) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			all, err := c.programs(ctx)
			if err == nil && len(all) == 1 && is(all[0]) {
				return all[0]
			}
			if err == nil && len(all) == 1 {
				last = all[0]
			}
		}
		t.Fatalf("never %s: %+v", what, last)
		return last
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for c.control(ctx, "GET", "/programs", nil, nil) != nil {
		time.Sleep(5 * time.Millisecond)
	}

	sleeper := Program{Name: "sleeper", Args: []string{"/bin/sleep", "1000"}}
	must(c.Ensure(ctx, sleeper))
	first := until("running", func(s Status) bool { return s.Pid > 0 })

	must(c.Ensure(ctx, sleeper))
	if now := until("running", func(s Status) bool { return s.Pid > 0 }); now.Pid != first.Pid {
		t.Error("an unchanged program was restarted")
	}

	must(c.control(ctx, "POST", "/programs/sleeper/signal?number=9", nil, nil))
	killed := until("restarted", func(s Status) bool { return s.Restarts == 1 && s.Pid > 0 })
	if killed.Pid == first.Pid || killed.LastExit != "killed by signal killed" {
		t.Errorf("after a kill: %+v", killed)
	}

	must(c.control(ctx, "POST", "/programs/sleeper/stop", nil, nil))
	must(c.waitStopped(ctx, "sleeper"))
	if s := until("stopped", func(s Status) bool { return s.Pid == 0 }); s.NotReady != "stopped" || s.Restarts != 1 {
		t.Errorf("after stop: %+v", s)
	}

	sleeper.Args = []string{"/bin/sleep", "2000"}
	must(c.Ensure(ctx, sleeper))
	changed := until("running", func(s Status) bool { return s.Pid > 0 })
	if line, _ := os.ReadFile("/proc/" + strconv.Itoa(changed.Pid) + "/cmdline"); string(line) != "/bin/sleep\x002000\x00" {
		t.Errorf("runs %q", line)
	}

	sleeper.Args = []string{"/bin/no-such-program"}
	must(c.control(ctx, "PUT", "/programs/sleeper", sleeper, nil))
	until("failing", func(s Status) bool { return s.Restarts > 1 && s.NotReady != "" })

	must(c.Remove(ctx, "sleeper"))
	if all, err := c.programs(ctx); err != nil || len(all) != 0 {
		t.Errorf("after remove: %+v, %v", all, err)
	}
}
