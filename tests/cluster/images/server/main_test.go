// Tests of the test server's settings and of how it ends.
package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := map[string]string{"PORT": "80", "READY_AFTER": "2s", "REFUSE": "true"}
	config, err := parseConfig([]string{"--port=81", "--message", "hi"}, lookup(env), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if config.Port != 81 || config.ReadyAfter != 2*time.Second || !config.Refuse || config.Message != "hi" || config.ExitAfter >= 0 {
		t.Errorf("got %+v", config)
	}
}

func TestBadSettingsAreSaid(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{nil, map[string]string{"DELAY": "soon"}, `invalid value "soon" for DELAY`},
		{[]string{"--port=0"}, nil, "invalid port 0"},
		{[]string{"--on-term=die"}, nil, "give graceful or ignore"},
		{[]string{"--interval=0s"}, nil, "invalid interval 0s"},
		{[]string{"--status=42"}, nil, "invalid status 42"},
		{nil, map[string]string{"FORWARDED_STATUS": "600"}, "or 600"},
		{[]string{"--exit-code=256"}, nil, "invalid exit code 256"},
		{[]string{"serve"}, nil, `unexpected argument "serve"`},
	} {
		var stderr strings.Builder
		if _, err := parseConfig(test.args, lookup(test.env), &stderr); err == nil {
			t.Errorf("%v %v: accepted", test.args, test.env)
		}
		if !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%v %v: said %q, want %q", test.args, test.env, stderr.String(), test.want)
		}
	}
}

func TestCrash(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond} {
		var stderr strings.Builder
		code := run(Config{Refuse: true, ExitAfter: after, ExitCode: 7, LastWords: "no disk"}, io.Discard, &stderr)
		if code != 7 || stderr.String() != "no disk\n" {
			t.Errorf("after %s: exit code %d, last words %q", after, code, stderr.String())
		}
	}
}
