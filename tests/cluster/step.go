// Long steps: progress while they run, a log for each, and its last lines when one fails.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// progressEvery is how often a running step says that it still runs.
const progressEvery = 20 * time.Second

// Step runs something that takes a while: it says what and how long that takes
// when nothing is cached, keeps the output in logs/up-NAME.log, and shows the
// log's last lines if it fails.
func (c *Cluster) Step(ctx context.Context, name, takes string, do func(ctx context.Context, log io.Writer) error) error {
	path := c.Log("up-" + strings.ReplaceAll(name, " ", "-"))
	if err := os.MkdirAll(c.path("logs"), 0o755); err != nil {
		return err
	}
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Printf("%s (takes about %s the first time; log: %s)\n", name, takes, path)
	began := time.Now()
	elapsed := func() time.Duration { return time.Since(began).Round(100 * time.Millisecond) }
	done := make(chan error, 1)
	go func() { done <- do(ctx, log) }()
	for tick := time.NewTicker(progressEvery); ; {
		select {
		case err := <-done:
			tick.Stop()
			if err != nil {
				return withLog(fmt.Errorf("%s: %w", name, err), path)
			}
			fmt.Printf("  done in %s\n", elapsed())
			return nil
		case <-tick.C:
			fmt.Printf("  %s so far: %s\n", time.Since(began).Round(time.Second), lastLines(path, 1))
		}
	}
}

// run runs a command on the host with its output in a step's log; it is killed
// when ctx ends or this process dies.
func run(ctx context.Context, log io.Writer, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), env...)
	return runTied(cmd)
}

// runGo runs the Go command, again if it fails: it fetches modules, and gives
// up at the first answer that does not come. What was fetched and compiled by
// then stays.
func runGo(ctx context.Context, log io.Writer, dir string, env []string, args ...string) error {
	return again(ctx, log, func() error { return run(ctx, log, dir, env, append([]string{"go"}, args...)...) })
}

// again does what fetches something from the network, again if it fails.
func again(ctx context.Context, log io.Writer, do func() error) error {
	err := do()
	for _, pause := range []time.Duration{2 * time.Second, 20 * time.Second} {
		if err == nil || ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(log, "%v: once more in %s\n", err, pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		err = do()
	}
	return err
}

// runTied runs a command that the kernel kills with this process. The kernel
// means the thread that started it, hence the lock.
func runTied(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

// withLog adds to an error which log to read and how it ends.
func withLog(err error, path string) error {
	return fmt.Errorf("%w\nthe log %s ends:\n%s", err, path, indent(lastLines(path, 15)))
}

// lastLines returns a file's last n lines, without reading all of a long file.
func lastLines(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 16<<10 {
		f.Seek(-16<<10, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

func indent(s string) string {
	return "  | " + strings.ReplaceAll(s, "\n", "\n  | ")
}
