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

func (p Ports) String() string { return fmt.Sprintf("%d %d\n", p.HTTP, p.HTTPS) }

func readPorts(path string) (p Ports) {
	b, _ := os.ReadFile(path)
	fmt.Sscan(string(b), &p.HTTP, &p.HTTPS)
	return p
}

// forwardSockets are listening sockets of the host on their way into the box.
type forwardSockets struct {
	files []*os.File
	ports []int // of the node, one for each file
}

func (f *forwardSockets) close() {
	for _, file := range f.files {
		file.Close()
	}
}

// targets tells the box what each inherited socket is for.
func (f *forwardSockets) targets() string {
	var s []string
	for _, p := range f.ports {
		s = append(s, strconv.Itoa(p))
	}
	return "forward=" + strings.Join(s, ",")
}

// openForward listens on loopback only: IPv4, and IPv6 where the machine has it.
func openForward(last Ports) (Ports, *forwardSockets, error) {
	sockets := &forwardSockets{}
	pick := func(wanted, other, last int) (int, error) {
		port, listeners, err := pickPort(listenLoopback, wanted, other, last)
		for _, l := range listeners {
			file, ferr := l.(*net.TCPListener).File()
			l.Close()
			err = errors.Join(err, ferr)
			sockets.files = append(sockets.files, file)
			sockets.ports = append(sockets.ports, wanted)
		}
		return port, err
	}
	http, err1 := pick(80, 8080, last.HTTP)
	https, err2 := pick(443, 8443, last.HTTPS)
	if err := errors.Join(err1, err2); err != nil {
		sockets.close()
		return Ports{}, nil, err
	}
	return Ports{http, https}, sockets, nil
}

// pickPort takes the port of last time, the wanted one, or the first free one from other on.
func pickPort(listen func(int) ([]net.Listener, error), wanted, other, last int) (int, []net.Listener, error) {
	candidates := []int{wanted}
	if last != 0 {
		candidates = []int{last, wanted}
	}
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
func serveForward(targets string, node netip.Addr) error {
	list := strings.TrimPrefix(targets, "forward=")
	if list == "" {
		return nil
	}
	for i, port := range strings.Split(list, ",") {
		file := os.NewFile(uintptr(3+i), "forward to "+port)
		syscall.CloseOnExec(3 + i)
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("forward to port %s: %w", port, err)
		}
		go acceptForward(l, net.JoinHostPort(node.String(), port))
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
