package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestPickPort(t *testing.T) {
	listenBut := func(taken ...int) func(int) ([]net.Listener, error) {
		return func(port int) ([]net.Listener, error) {
			for _, p := range taken {
				if p == port {
					return nil, fmt.Errorf("listen: %w", os.NewSyscallError("bind", syscall.EADDRINUSE))
				}
			}
			return nil, nil
		}
	}
	for _, test := range []struct {
		taken []int
		want  int
	}{{nil, 80}, {[]int{80}, 8080}, {[]int{80, 8080, 8081}, 8082}} {
		if port, _, err := pickPort(listenBut(test.taken...), 80, 8080); port != test.want || err != nil {
			t.Errorf("with %v taken: %d, %v; want %d", test.taken, port, err, test.want)
		}
	}
	denied := func(int) ([]net.Listener, error) { return nil, syscall.EACCES }
	if _, _, err := pickPort(denied, 80, 8080); !errors.Is(err, syscall.EACCES) {
		t.Errorf("another failure than a taken port should be told, got %v", err)
	}
}

func TestForwardPlanSurvivesTheCommandLine(t *testing.T) {
	plan, err := parseForward("forward=8080:80,8080:80,443:443")
	if err != nil || plan.String() != "forward=8080:80,8080:80,443:443" || plan.ports() != (Ports{8080, 443}) {
		t.Errorf("%v, %v", plan, err)
	}
	for _, bad := range []string{"", "forward=", "forward=80", "80:80"} {
		if _, err := parseForward(bad); err == nil {
			t.Errorf("%q should be refused", bad)
		}
	}
}

// Each side may end its own direction first and still get the rest of the other.
func TestForwardKeepsHalfClosedConnections(t *testing.T) {
	node, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go func() {
		conn, err := node.Accept()
		if err != nil {
			return
		}
		all, _ := io.ReadAll(conn)
		conn.Write(append([]byte("got "), all...))
		conn.Close()
	}()
	host, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	go func() {
		conn, err := host.Accept()
		if err == nil {
			forward(conn.(*net.TCPConn), node.Addr().String())
		}
	}()
	conn, err := net.Dial("tcp4", host.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello"))
	conn.(*net.TCPConn).CloseWrite()
	if answer, err := io.ReadAll(conn); string(answer) != "got hello" {
		t.Errorf("got %q, %v", answer, err)
	}
}
