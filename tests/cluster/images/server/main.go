// The HTTP test server's program: reads its configuration, misbehaves as told, serves until it is stopped.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// gracePeriod bounds how long a graceful stop waits for answers under way; it is less than a Pod's 30 s.
const gracePeriod = 20 * time.Second

func main() {
	config, err := parseConfig(os.Args[1:], os.LookupEnv, os.Stderr)
	if err != nil {
		// The flag package has said what is wrong.
		os.Exit(2)
	}
	os.Exit(run(config, os.Stdout, os.Stderr))
}

// run serves until it is stopped or told to crash, and returns the exit code.
func run(config Config, stdout, stderr io.Writer) int {
	stop := context.Background()
	if config.OnTerm == ignoreTerm {
		signal.Ignore(syscall.SIGTERM)
	} else {
		var cancel context.CancelFunc
		stop, cancel = signal.NotifyContext(stop, syscall.SIGTERM, syscall.SIGINT)
		defer cancel()
	}

	var crash <-chan time.Time
	switch {
	case config.ExitAfter == 0:
		// Before it listens: nobody ever gets an answer.
		return lastWords(config, stderr)
	case config.ExitAfter > 0:
		crash = time.After(config.ExitAfter)
	}

	failed := make(chan error, 1)
	server := &http.Server{
		Handler:           logged(stdout, newHandler(config, stop, time.Now())),
		ReadHeaderTimeout: time.Minute,
	}
	if config.Refuse {
		fmt.Fprintln(stdout, "listening on no port, as told")
	} else {
		listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(config.Port)))
		if err != nil {
			fmt.Fprintf(stderr, "cannot listen on port %d: %v\n", config.Port, err)
			return 1
		}
		fmt.Fprintf(stdout, "listening on port %d\n", config.Port)
		go func() { failed <- server.Serve(listener) }()
	}

	select {
	case err := <-failed:
		fmt.Fprintf(stderr, "cannot go on serving: %v\n", err)
		return 1
	case <-crash:
		return lastWords(config, stderr)
	case <-stop.Done():
		fmt.Fprintln(stdout, "stopping")
		grace, cancel := context.WithTimeout(context.Background(), gracePeriod)
		defer cancel()
		if err := server.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(stderr, "answers under way were cut after %s: %v\n", gracePeriod, err)
			return 1
		}
		return 0
	}
}

func lastWords(config Config, stderr io.Writer) int {
	if config.LastWords != "" {
		fmt.Fprintln(stderr, config.LastWords)
	}
	return config.ExitCode
}
