// The supervisor: runs the node's programs, restarts what dies, reaps orphans.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Program is something the supervisor keeps running inside the node.
type Program struct {
	Name  string   `json:"name"`            // also the log's name: logs/NAME.log
	Args  []string `json:"args"`            // Args[0] is the program, an absolute path
	Env   []string `json:"env,omitempty"`   // added to PATH, HOME and TMPDIR
	Ready string   `json:"ready,omitempty"` // http(s)://… answers 2xx, tcp:HOST:PORT or unix:PATH accepts; empty: running is ready

	// Files are configuration files and certificates read at the start that
	// Args do not name. A change of either kind restarts the program: Ensure
	// puts their hash into Digest.
	Files  []string `json:"files,omitempty"`
	Digest string   `json:"digest,omitempty"`
}

// Status is what the supervisor knows of a program.
type Status struct {
	Program
	Wanted   bool      `json:"wanted"` // false after `cluster stop`
	Pid      int       `json:"pid"`    // inside the node; 0 when not running
	Since    time.Time `json:"since"`  // start of the running process, or its end
	Restarts int       `json:"restarts"`
	LastExit string    `json:"lastExit,omitempty"`
	NotReady string    `json:"notReady,omitempty"` // why the readiness check fails
}

const (
	firstBackoff = 200 * time.Millisecond
	lastBackoff  = 10 * time.Second
	steadyAfter  = 30 * time.Second // a program that ran this long starts again without waiting
	stopPatience = 10 * time.Second // between SIGTERM and SIGKILL
)

// supervisor is the state of PID 1; mu guards all of it.
type supervisor struct {
	c        *Cluster
	mu       sync.Mutex
	programs []*supervised // in order of first start
	exits    map[int]chan syscall.WaitStatus
}

// supervised is one program; changed wakes its goroutine when wanted or spec changed.
type supervised struct {
	status  Status
	changed chan struct{}
	removed bool
}

func newSupervisor(c *Cluster) *supervisor {
	s := &supervisor{c: c, exits: map[int]chan syscall.WaitStatus{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go s.reap(signals)
	return s
}

// reap waits for every child: the programs, and the orphans that PID 1 inherits (containerd's shims).
// It is the only place that waits, so nothing here may use os/exec.
func (s *supervisor) reap(signals <-chan os.Signal) {
	for range signals {
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			s.mu.Lock()
			if exit, ours := s.exits[pid]; ours {
				delete(s.exits, pid)
				exit <- ws
			}
			s.mu.Unlock()
		}
	}
}

// ensure makes a program run as given: starts it, starts it again if it was stopped, restarts it if it changed.
func (s *supervisor) ensure(p Program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.find(p.Name)
	if sp == nil {
		sp = &supervised{status: Status{Program: p, Wanted: true, Since: time.Now()}, changed: make(chan struct{}, 1)}
		s.programs = append(s.programs, sp)
		go s.supervise(sp)
		return
	}
	if sp.status.Wanted && reflect.DeepEqual(sp.status.Program, p) {
		return
	}
	sp.status.Program, sp.status.Wanted = p, true
	sp.wake()
}

// setWanted stops or starts a program that ensure made known.
func (s *supervisor) setWanted(name string, wanted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.find(name)
	if sp == nil {
		return fmt.Errorf("no program named %s", name)
	}
	if sp.status.Wanted != wanted {
		sp.status.Wanted = wanted
		sp.wake()
	}
	return nil
}

// remove stops a program and forgets it.
func (s *supervisor) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.find(name); sp != nil {
		sp.removed, sp.status.Wanted = true, false
		s.programs = slices.DeleteFunc(s.programs, func(other *supervised) bool { return other == sp })
		sp.wake()
	}
}

// signal sends a signal to a running program, without any effect on whether it is wanted.
func (s *supervisor) signal(name string, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.find(name)
	if sp == nil || sp.status.Pid == 0 {
		return fmt.Errorf("no running program named %s", name)
	}
	return syscall.Kill(sp.status.Pid, sig)
}

func (s *supervisor) find(name string) *supervised {
	for _, sp := range s.programs {
		if sp.status.Name == name {
			return sp
		}
	}
	return nil
}

func (sp *supervised) wake() {
	select {
	case sp.changed <- struct{}{}:
	default:
	}
}

// supervise is the life of one program, until it is removed.
func (s *supervisor) supervise(sp *supervised) {
	backoff := firstBackoff
	for {
		s.mu.Lock()
		removed, wanted, spec := sp.removed, sp.status.Wanted, sp.status.Program
		s.mu.Unlock()
		if removed {
			return
		}
		if !wanted {
			<-sp.changed
			backoff = firstBackoff
			continue
		}
		exit, err := s.start(sp, spec)
		began := time.Now()
		last := ""
		if err != nil {
			last = err.Error()
		} else {
			last = s.wait(sp, spec, exit)
		}
		s.mu.Lock()
		sp.status.Pid, sp.status.Since, sp.status.LastExit = 0, time.Now(), last
		meant := !sp.status.Wanted || !reflect.DeepEqual(sp.status.Program, spec)
		if !meant {
			sp.status.Restarts++
		}
		s.mu.Unlock()
		fmt.Printf("%s %s ended: %s\n", time.Now().Format(time.RFC3339), spec.Name, last)
		if meant {
			backoff = firstBackoff
			continue
		}
		if time.Since(began) > steadyAfter {
			backoff = firstBackoff
			continue
		}
		select {
		case <-time.After(backoff):
		case <-sp.changed:
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// start forks the program; it registers for the exit before reap can see it.
func (s *supervisor) start(sp *supervised, spec Program) (<-chan syscall.WaitStatus, error) {
	log, err := os.OpenFile(s.c.Log(spec.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err := syscall.ForkExec(spec.Args[0], spec.Args, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append([]string{"PATH=" + s.c.boxPath(), "HOME=/root", "TMPDIR=/tmp"}, spec.Env...),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	exit := make(chan syscall.WaitStatus, 1)
	s.exits[pid] = exit
	sp.status.Pid, sp.status.Since = pid, time.Now()
	return exit, nil
}

// wait returns how the program ended, and ends it when it is no longer wanted as it was started.
func (s *supervisor) wait(sp *supervised, spec Program, exit <-chan syscall.WaitStatus) string {
	for {
		select {
		case ws := <-exit:
			return describe(ws)
		case <-sp.changed:
		}
		s.mu.Lock()
		stop, pid := !sp.status.Wanted || !reflect.DeepEqual(sp.status.Program, spec), sp.status.Pid
		s.mu.Unlock()
		if !stop {
			continue
		}
		syscall.Kill(pid, syscall.SIGCONT) // one that a test has stopped would not see the SIGTERM
		syscall.Kill(pid, syscall.SIGTERM)
		select {
		case ws := <-exit:
			return describe(ws)
		case <-time.After(stopPatience):
			syscall.Kill(pid, syscall.SIGKILL)
			return describe(<-exit)
		}
	}
}

func describe(ws syscall.WaitStatus) string {
	if ws.Signaled() {
		return "killed by signal " + ws.Signal().String()
	}
	return fmt.Sprintf("exit code %d", ws.ExitStatus())
}

// statuses returns every program's status, with the readiness checks made now and at once.
func (s *supervisor) statuses(ctx context.Context) []Status {
	s.mu.Lock()
	var all []Status
	for _, sp := range s.programs {
		all = append(all, sp.status)
	}
	s.mu.Unlock()
	var checks sync.WaitGroup
	for i := range all {
		st := &all[i]
		checks.Go(func() {
			switch {
			case !st.Wanted:
				st.NotReady = "stopped"
			case st.Pid == 0:
				st.NotReady = "not running: " + st.LastExit
			default:
				if err := checkReady(ctx, st.Ready); err != nil {
					st.NotReady = err.Error()
				}
			}
		})
	}
	checks.Wait()
	return all
}
