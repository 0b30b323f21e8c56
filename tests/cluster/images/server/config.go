// The test server's configuration: each setting is a flag and an environment variable; the flag wins.
package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	gracefulTerm = "graceful"
	ignoreTerm   = "ignore"
)

// Config is what the server is told at its start.
type Config struct {
	Port    int
	Refuse  bool
	Message string
	// Status and ForwardedStatus of zero mean 200.
	Status          int
	ForwardedStatus int
	Delay           time.Duration
	ReadyAfter      time.Duration
	// ExitAfter below zero means never.
	ExitAfter time.Duration
	ExitCode  int
	LastWords string
	Interval  time.Duration
	OnTerm    string
}

// parseConfig reads the arguments over the environment: --ready-after is READY_AFTER, and so on.
func parseConfig(args []string, lookup func(string) (string, bool), stderr io.Writer) (Config, error) {
	var config Config
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&config.Port, "port", 8080, "the `port` it listens on")
	flags.BoolVar(&config.Refuse, "refuse", false, "run, but listen on no port")
	flags.StringVar(&config.Message, "message", "Hello", "what every other path answers")
	flags.IntVar(&config.Status, "status", 0, "the status of the message")
	flags.IntVar(&config.ForwardedStatus, "forwarded-status", 0, "the status of every answer that a gateway asked for, /ready included")
	flags.DurationVar(&config.Delay, "delay", 0, "wait before each answer, health checks aside")
	flags.DurationVar(&config.ReadyAfter, "ready-after", 0, "answer 503 until then, /healthz aside")
	flags.DurationVar(&config.ExitAfter, "exit-after", -1, "crash after this time; 0: at once, before it listens")
	flags.IntVar(&config.ExitCode, "exit-code", 1, "what a crash exits with")
	flags.StringVar(&config.LastWords, "last-words", "", "what a crash writes to stderr")
	flags.DurationVar(&config.Interval, "interval", time.Second, "time between two lines of /stream")
	flags.StringVar(&config.OnTerm, "on-term", gracefulTerm, "what SIGTERM does: graceful or ignore")

	var err error
	flags.VisitAll(func(f *flag.Flag) {
		name := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, set := lookup(name)
		if !set || err != nil {
			return
		}
		if problem := flags.Set(f.Name, value); problem != nil {
			err = fmt.Errorf("invalid value %q for %s: %w", value, name, problem)
			fmt.Fprintln(stderr, err)
		}
	})
	if err != nil {
		return config, err
	}
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	return config, config.validate(flags.Args(), stderr)
}

func (config Config) validate(rest []string, stderr io.Writer) error {
	var err error
	switch {
	case len(rest) > 0:
		err = fmt.Errorf("unexpected argument %q: every setting is a flag", rest[0])
	case config.Port < 1 || config.Port > 65535:
		err = fmt.Errorf("invalid port %d: give one from 1 to 65535", config.Port)
	case !isStatus(config.Status) || !isStatus(config.ForwardedStatus):
		err = fmt.Errorf("invalid status %d or %d: give one from 200 to 599", config.Status, config.ForwardedStatus)
	case config.ExitCode < 0 || config.ExitCode > 255:
		err = fmt.Errorf("invalid exit code %d: give one from 0 to 255", config.ExitCode)
	case config.Interval <= 0:
		err = fmt.Errorf("invalid interval %s: give one above zero", config.Interval)
	case config.OnTerm != gracefulTerm && config.OnTerm != ignoreTerm:
		err = fmt.Errorf("invalid value %q for on-term: give %s or %s", config.OnTerm, gracefulTerm, ignoreTerm)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	return err
}

// isStatus accepts zero for "not set".
func isStatus(code int) bool { return code == 0 || code >= 200 && code <= 599 }
