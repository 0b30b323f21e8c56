// What the test server answers, path by path.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// newHandler answers requests; stop ends the answers that would never end by themselves.
func newHandler(config Config, stop context.Context, started time.Time) http.Handler {
	answers := http.NewServeMux()
	answers.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if config.Status != 0 {
			w.WriteHeader(config.Status)
		}
		fmt.Fprintln(w, config.Message)
	})
	answers.HandleFunc("/headers", headers)
	answers.HandleFunc("/status/{code}", status)
	answers.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		stream(w, r, stop, config.Interval)
	})
	answers.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		echo(w, r, stop)
	})

	all := http.NewServeMux()
	all.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	all.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if ready(w, config, started) {
			fmt.Fprintln(w, "ready")
		}
	})
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if ready(w, config, started) && pause(w, r, config.Delay) {
			answers.ServeHTTP(w, r)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Gateways tell whom they ask for; the kubelet asks for itself.
		if config.ForwardedStatus != 0 && r.Header.Get("X-Forwarded-For") != "" {
			answerStatus(w, config.ForwardedStatus)
			return
		}
		all.ServeHTTP(w, r)
	})
}

// ready answers 503 while the server plays one that is still starting.
func ready(w http.ResponseWriter, config Config, started time.Time) bool {
	left := config.ReadyAfter - time.Since(started)
	if left > 0 {
		http.Error(w, fmt.Sprintf("not ready for another %s", left.Round(time.Millisecond)), http.StatusServiceUnavailable)
		return false
	}
	return true
}

// pause waits as configured, or as the request says with ?delay=; false if there is nobody left to answer.
func pause(w http.ResponseWriter, r *http.Request, delay time.Duration) bool {
	delay, ok := duration(w, r, "delay", delay)
	if !ok {
		return false
	}
	select {
	case <-time.After(delay):
		return true
	case <-r.Context().Done():
		return false
	}
}

// duration reads a duration from the query; a bad one is answered with 400.
func duration(w http.ResponseWriter, r *http.Request, name string, otherwise time.Duration) (time.Duration, bool) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return otherwise, true
	}
	value, err := time.ParseDuration(given)
	if err != nil || value < 0 {
		http.Error(w, fmt.Sprintf("invalid %s %q: give a duration such as 500ms", name, given), http.StatusBadRequest)
		return 0, false
	}
	return value, true
}

// headers tells what arrived, and where.
func headers(w http.ResponseWriter, r *http.Request) {
	hostname, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"method":   r.Method,
		"path":     r.URL.RequestURI(),
		"protocol": r.Proto,
		"host":     r.Host,
		"headers":  r.Header,
		"remote":   r.RemoteAddr,
		"hostname": hostname,
	})
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, fmt.Sprintf("invalid status %q: give one from 200 to 599", r.PathValue("code")), http.StatusBadRequest)
		return
	}
	answerStatus(w, code)
}

func answerStatus(w http.ResponseWriter, code int) {
	w.WriteHeader(code)
	fmt.Fprintf(w, "%d %s\n", code, http.StatusText(code))
}

// stream writes a line per interval until the client goes, the server stops or ?lines= are written.
func stream(w http.ResponseWriter, r *http.Request, stop context.Context, interval time.Duration) {
	interval, ok := duration(w, r, "interval", interval)
	if !ok {
		return
	}
	lines, err := strconv.Atoi(r.URL.Query().Get("lines"))
	endless := err != nil
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flusher := http.NewResponseController(w)
	for n := 1; endless || n <= lines; n++ {
		fmt.Fprintf(w, "line %d\n", n)
		if flusher.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-stop.Done():
			return
		}
	}
}

// echo sends each WebSocket message back until either side goes.
func echo(w http.ResponseWriter, r *http.Request, stop context.Context) {
	// Pages of any origin may connect: there is nothing here to protect.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered.
	}
	defer conn.CloseNow()
	// A hijacked connection is not the http.Server's to close when it stops.
	defer context.AfterFunc(stop, func() { conn.Close(websocket.StatusGoingAway, "stopping") })()
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if err := conn.Write(context.Background(), kind, message); err != nil {
			return
		}
	}
}

// logged writes a line per request, before it is answered: a slow answer shows too.
func logged(out io.Writer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(out, "%s %s %s\n", r.Method, r.Host, r.URL.RequestURI())
		next.ServeHTTP(w, r)
	})
}
