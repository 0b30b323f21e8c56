// Tests of what the test server answers, over real connections.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func serve(t *testing.T, config Config, started time.Time) (url string, stop func()) {
	t.Helper()
	if config.Interval == 0 {
		config.Interval = time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(newHandler(config, ctx, started))
	t.Cleanup(server.Close)
	t.Cleanup(cancel)
	return server.URL, cancel
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestPaths(t *testing.T) {
	url, _ := serve(t, Config{Message: "hi there"}, time.Now())
	for _, test := range []struct {
		path string
		code int
		body string
	}{
		{"/", 200, "hi there\n"},
		{"/any/where", 200, "hi there\n"},
		{"/healthz", 200, "ok\n"},
		{"/ready", 200, "ready\n"},
		{"/status/418", 418, "418 I'm a teapot\n"},
		{"/status/1000", 400, "invalid status \"1000\": give one from 200 to 599\n"},
		{"/?delay=soon", 400, "invalid delay \"soon\": give a duration such as 500ms\n"},
		{"/stream?interval=1ms&lines=2", 200, "line 1\nline 2\n"},
	} {
		if code, body := get(t, url+test.path); code != test.code || body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.path, code, body, test.code, test.body)
		}
	}
}

func TestFixedStatus(t *testing.T) {
	url, _ := serve(t, Config{Message: "gone", Status: 410}, time.Now())
	for path, want := range map[string]int{"/": 410, "/ready": 200, "/healthz": 200, "/status/204": 204} {
		if code, _ := get(t, url+path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestForwardedStatus(t *testing.T) {
	url, _ := serve(t, Config{ForwardedStatus: 500}, time.Now())
	for _, path := range []string{"/", "/ready", "/healthz"} {
		if code, _ := get(t, url+path); code != 200 {
			t.Errorf("%s by itself: %d, want 200", path, code)
		}
		request, _ := http.NewRequest("GET", url+path, nil)
		request.Header.Set("X-Forwarded-For", "192.0.2.1")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 500 {
			t.Errorf("%s by a gateway: %d, want 500", path, response.StatusCode)
		}
	}
}

func TestNotReadyUntilItsTime(t *testing.T) {
	config := Config{ReadyAfter: time.Hour}
	starting, _ := serve(t, config, time.Now())
	started, _ := serve(t, config, time.Now().Add(-2*time.Hour))
	for path, want := range map[string]int{"/": 503, "/ready": 503, "/headers": 503, "/healthz": 200} {
		if code, _ := get(t, starting+path); code != want {
			t.Errorf("%s before: %d, want %d", path, code, want)
		}
		if code, _ := get(t, started+path); code != 200 {
			t.Errorf("%s after: %d, want 200", path, code)
		}
	}
}

func TestDelay(t *testing.T) {
	url, _ := serve(t, Config{Delay: 50 * time.Millisecond}, time.Now())
	start := time.Now()
	get(t, url+"/")
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("answered after %s, want at least 50ms", took)
	}
	start = time.Now()
	get(t, url+"/?delay=100ms")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("answered after %s, want at least 100ms", took)
	}
}

func TestHeaders(t *testing.T) {
	url, _ := serve(t, Config{}, time.Now())
	request, _ := http.NewRequest("PUT", url+"/headers?a=b", nil)
	request.Host = "x.localhost"
	request.Header.Set("X-Forwarded-Proto", "https")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got struct {
		Method, Path, Host string
		Headers            http.Header
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "PUT" || got.Path != "/headers?a=b" || got.Host != "x.localhost" || got.Headers.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("got %+v", got)
	}
}

func TestStreamEndsWhenTheServerStops(t *testing.T) {
	url, stop := serve(t, Config{}, time.Now())
	response, err := http.Get(url + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{"line 1", "line 2"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	stop()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream was cut, not ended: %v", err)
	}
}

func TestWebSocket(t *testing.T) {
	url, stop := serve(t, Config{}, time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, sent := range []string{"one", "two"} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(sent)); err != nil {
			t.Fatal(err)
		}
		kind, got, err := conn.Read(ctx)
		if err != nil || kind != websocket.MessageText || string(got) != sent {
			t.Fatalf("got %q %v, want %q", got, err, sent)
		}
	}
	stop()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v, want the close status %v", err, websocket.StatusGoingAway)
	}
}
