// The forward: the host's loopback ports for HTTP and HTTPS, connected to the node's.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Ports are the host's loopback ports that reach the node's 80 and 443.
type Ports struct{ HTTP, HTTPS int }

// forwardPlan says for each inherited socket which port of the host it listens
// on and which of the node it leads to. On the box's command line it reads
// forward=8080:80,8080:80,443:443.
type forwardPlan []struct{ host, node int }

func (f forwardPlan) String() string {
	var pairs []string
	for _, p := range f {
		pairs = append(pairs, fmt.Sprintf("%d:%d", p.host, p.node))
	}
	return "forward=" + strings.Join(pairs, ",")
}

func parseForward(s string) (forwardPlan, error) {
	list, ok := strings.CutPrefix(s, "forward=")
	if !ok || list == "" {
		return nil, fmt.Errorf("%q is not a forward", s)
	}
	var plan forwardPlan
	for _, pair := range strings.Split(list, ",") {
		var host, node int
		if _, err := fmt.Sscanf(pair, "%d:%d", &host, &node); err != nil {
			return nil, fmt.Errorf("%q is not a forward: %w", s, err)
		}
		plan = append(plan, struct{ host, node int }{host, node})
	}
	return plan, nil
}

func (f forwardPlan) ports() (ports Ports) {
	for _, p := range f {
		switch p.node {
		case 80:
			ports.HTTP = p.host
		case 443:
			ports.HTTPS = p.host
		}
	}
	return ports
}

// openForward listens on loopback only: IPv4, and IPv6 where the machine has it.
func openForward() (forwardPlan, []*os.File, error) {
	var plan forwardPlan
	var files []*os.File
	for _, want := range []struct{ port, other int }{{80, 8080}, {443, 8443}} {
		port, listeners, err := pickPort(listenLoopback, want.port, want.other)
		for _, l := range listeners {
			file, ferr := l.(*net.TCPListener).File()
			l.Close()
			err = errors.Join(err, ferr)
			files = append(files, file)
			plan = append(plan, struct{ host, node int }{port, want.port})
		}
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
	}
	return plan, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// pickPort takes the wanted port, or the first free one from other on.
func pickPort(listen func(int) ([]net.Listener, error), wanted, other int) (int, []net.Listener, error) {
	candidates := []int{wanted}
	for p := other; p < other+20; p++ {
		candidates = append(candidates, p)
	}
	for _, port := range candidates {
		listeners, err := listen(port)
		if err == nil {
			return port, listeners, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("no free port on loopback for the node's port %d: %d and %d to %d are all taken (see `ss -ltnp`)", wanted, wanted, other, other+19)
}

func listenLoopback(port int) ([]net.Listener, error) {
	p := strconv.Itoa(port)
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", p))
	if err != nil {
		return nil, err
	}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", p))
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return []net.Listener{v4}, nil // no IPv6 here
	}
	if err != nil {
		v4.Close()
		return nil, err
	}
	return []net.Listener{v4, v6}, nil
}

// serveForward runs inside the box: it accepts from the host's sockets, which
// came as descriptors 3 and up, and connects to the node.
func serveForward(plan forwardPlan, node netip.Addr) error {
	for i, p := range plan {
		file := os.NewFile(uintptr(3+i), "forward")
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("forward from port %d: %w", p.host, err)
		}
		go acceptForward(l, net.JoinHostPort(node.String(), strconv.Itoa(p.node)))
	}
	return nil
}

func acceptForward(l net.Listener, target string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Fprintf(os.Stderr, "forward to %s: %v\n", target, err)
			time.Sleep(100 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		go forward(conn.(*net.TCPConn), target)
	}
}

// forward copies both ways until each side has ended its own.
func forward(client *net.TCPConn, target string) {
	defer client.Close()
	conn, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		client.SetLinger(0) // a reset tells the client more than an empty answer
		return
	}
	node := conn.(*net.TCPConn)
	defer node.Close()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(node, client); node.CloseWrite() })
	both.Go(func() { io.Copy(client, node); client.CloseWrite() })
	both.Wait()
}
