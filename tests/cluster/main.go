// Command cluster runs the project's own one-node Kubernetes; see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const usage = `A one-node Kubernetes for Ephemeron's demo, tests and benchmarks.

usage: cluster COMMAND

  up [--add-ons NAME,...|none]   start it, or repair it; the first time takes about 10 minutes
  down [--purge]                 stop it and remove its state; --purge: what was built, too
  status                         what runs, the addresses, what to try; exit code 0 if all is well
  env                            shell variables to source: KUBECONFIG, NODE_ADDRESS, HTTP_PORT, ...
  load-image FILE|NAME...        import an OCI archive or docker tar, or build and import images/NAME
  kubectl ARG...                 kubectl as administrator
  exec COMMAND...                run a command inside the node
  logs PROGRAM                   a program's log
  stop|start PROGRAM             stop one program of the node, or start it again
  signal PROGRAM NUMBER          send it a signal: 9 kills (it is restarted), 19 and 18 freeze and thaw

The state folder is EPHEMERON_CLUSTER_DIR, by default /var/lib/ephemeron-cluster.
`

func main() {
	if os.Args[0] == boxName {
		exit(runBox(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, args := "help", []string(nil)
	if len(os.Args) > 1 {
		command, args = os.Args[1], os.Args[2:]
	}
	if command == "help" || command == "-h" || command == "--help" {
		fmt.Print(usage)
		return
	}
	c, err := openCluster()
	if err == nil {
		err = c.dispatch(ctx, command, args)
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; the same command again goes on from here")
	}
	exit(err)
}

func (c *Cluster) dispatch(ctx context.Context, command string, args []string) error {
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	switch command {
	case "up":
		addOns := flags.String("add-ons", "", "add-ons to run, by name: traefik, contour, kwok; none for none; default: as at the last up")
		flags.Parse(args)
		if err := c.up(ctx, *addOns); err != nil {
			return fmt.Errorf("%w\n`cluster up` goes on from here; if it fails again, `cluster down` and `cluster up` start from nothing but keep what is built", err)
		}
		return nil
	case "down":
		purge := flags.Bool("purge", false, "remove what was built and downloaded, too")
		flags.Parse(args)
		return c.down(ctx, *purge)
	case "status":
		return c.status(ctx)
	case "env":
		if c.Net.Index == 0 {
			return c.errNoNode()
		}
		fmt.Print(renderEnv(c))
		return nil
	case "load-image":
		return c.loadImages(ctx, args)
	case "kubectl":
		kubectl := c.Bin("kubectl")
		return syscall.Exec(kubectl, append([]string{kubectl, "--kubeconfig", c.kubeconfig()}, args...), os.Environ())
	case "exec":
		return c.exec(ctx, args)
	case "logs", "stop", "start", "signal":
		return c.oneProgram(ctx, command, args)
	}
	return fmt.Errorf("unknown command %q; see `cluster help`", command)
}

// errNoNode tells a cluster that is down from one whose node has died.
func (c *Cluster) errNoNode() error {
	if c.Net.Index == 0 {
		return fmt.Errorf("there is no cluster in %s: start one with `cluster up`", c.Dir)
	}
	return fmt.Errorf("the node of the cluster in %s is not running: `cluster up` repairs it", c.Dir)
}

// exec runs a command inside the node, in the place of this process.
func (c *Cluster) exec(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which command? cluster exec COMMAND...")
	}
	cmd, err := c.inBox(ctx, args...)
	if err != nil {
		return err
	}
	return syscall.Exec(cmd.Path, cmd.Args, os.Environ())
}

// loadImages imports archives; a word that is no file names a folder of images/.
func (c *Cluster) loadImages(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which images? cluster load-image FILE|NAME...")
	}
	if c.box() == 0 {
		return c.errNoNode()
	}
	for _, arg := range args {
		var err error
		if info, serr := os.Stat(arg); serr == nil && info.Mode().IsRegular() {
			err = c.importArchive(ctx, arg)
		} else if _, serr := os.Stat(filepath.Join(c.Source, "images", arg, "ref")); serr == nil {
			err = c.ensureImage(ctx, arg, nil)
		} else {
			err = fmt.Errorf("%s is neither an archive nor a folder of %s/images", arg, c.Source)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) oneProgram(ctx context.Context, command string, args []string) error {
	if len(args) < 1 || (command == "signal" && len(args) != 2) {
		return fmt.Errorf("which program? see `cluster status`; usage: `cluster help`")
	}
	name := args[0]
	switch command {
	case "logs":
		log, err := os.Open(c.Log(name))
		if err != nil {
			return err
		}
		defer log.Close()
		_, err = log.WriteTo(os.Stdout)
		return err
	case "signal":
		number, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("%s is no signal's number", args[1])
		}
		return c.control(ctx, "POST", "/programs/"+name+"/signal?number="+strconv.Itoa(number), nil, nil)
	case "stop":
		if err := c.control(ctx, "POST", "/programs/"+name+"/stop", nil, nil); err != nil {
			return err
		}
		return c.waitStopped(ctx, name)
	}
	if err := c.control(ctx, "POST", "/programs/"+name+"/start", nil, nil); err != nil {
		return err
	}
	return c.waitReady(ctx, name)
}

// exit ends the process: with the code of the command that failed, if one did.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "cluster: "+strings.TrimSpace(err.Error()))
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() > 0 {
		os.Exit(failed.ExitCode())
	}
	os.Exit(1)
}
