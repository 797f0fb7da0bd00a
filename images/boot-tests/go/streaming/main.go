// Command streaming judges a streaming server as kubectl would use it: with client-go's executors and port forwarders,
// over SPDY, over WebSocket, and over SPDY inside of WebSocket.
//
// Its arguments are the server, a program that writes an address for each request that it reads.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	streamhttp "k8s.io/streaming/pkg/httpstream"
	utilexec "k8s.io/client-go/util/exec"
)

// Real time on a machine that does other things, too.
const patience = 5 * time.Minute

type server struct {
	in   io.Writer
	out  *bufio.Reader
	lock sync.Mutex
}

func (s *server) ask(line string) string {
	s.lock.Lock()
	defer s.lock.Unlock()
	fmt.Fprintln(s.in, line)
	answer, err := s.out.ReadString('\n')
	if err != nil {
		fail("the server answered %q with %v", line, err)
	}
	return strings.TrimSpace(answer)
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "streaming: "+format+"\n", arguments...)
	os.Exit(1)
}

func check(name string, err error) {
	if err != nil {
		fail("%s: %v", name, err)
	}
}

func expect(name string, got, wanted any) {
	if got != wanted {
		fail("%s: got %v, wanted %v", name, got, wanted)
	}
}

type newExecutor func(address string) (remotecommand.Executor, error)

var config = &rest.Config{}

func overSPDY(address string) (remotecommand.Executor, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewSPDYExecutor(config, http.MethodPost, parsed)
}

func overWebSocket(address string) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(config, http.MethodGet, address)
}

func overWebSocketV4(address string) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutorForProtocols(config, http.MethodGet, address, "v4.channel.k8s.io")
}

func withFallback(address string) (remotecommand.Executor, error) {
	first, err := overWebSocket(address)
	if err != nil {
		return nil, err
	}
	second, err := overSPDY(address)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(first, second, func(err error) bool {
		return streamhttp.IsUpgradeFailure(err)
	})
}

func stream(make newExecutor, address string, options remotecommand.StreamOptions) error {
	executor, err := make(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return executor.StreamWithContext(ctx, options)
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// commands does what an exec or attach can do over one transport.
func commands(s *server, name string, make newExecutor, closesStdin bool) {
	started := time.Now()
	var out, errs bytes.Buffer
	check(name+" both", stream(make, s.ask("exec oe both"), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}))
	expect(name+" stdout", out.String(), "out\n")
	expect(name+" stderr", errs.String(), "err\n")

	for _, code := range []int{1, 42, 137, 255} {
		err := stream(make, s.ask(fmt.Sprintf("exec oe exit %d", code)), remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard})
		var exit utilexec.CodeExitError
		if !errors.As(err, &exit) {
			fail("%s exit %d: %v", name, code, err)
		}
		expect(name+" exit", exit.Code, code)
	}
	check(name+" exit 0", stream(make, s.ask("exec o exit 0"), remotecommand.StreamOptions{Stdout: io.Discard}))

	err := stream(make, s.ask("exec o fail"), remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no command fail") {
		fail("%s fail: %v", name, err)
	}
	err = stream(make, s.ask("attach o missing"), remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no container missing") {
		fail("%s attach to nothing: %v", name, err)
	}

	if closesStdin {
		input := bytes.Repeat([]byte("all of this comes back\n"), 100_000)
		out.Reset()
		check(name+" cat", stream(make, s.ask("exec io cat"), remotecommand.StreamOptions{Stdin: bytes.NewReader(input), Stdout: &out}))
		expect(name+" cat", bytes.Equal(out.Bytes(), input), true)

		out.Reset()
		check(name+" attach", stream(make, s.ask("attach io container"), remotecommand.StreamOptions{Stdin: strings.NewReader("typed\n"), Stdout: &out}))
		expect(name+" attach", out.String(), "attached\ntyped\n")

		hash := sha256.New()
		out.Reset()
		upload := io.TeeReader(io.LimitReader(&counting{}, 20<<20), hash)
		check(name+" upload", stream(make, s.ask("exec io sha256"), remotecommand.StreamOptions{Stdin: upload, Stdout: &out}))
		expect(name+" upload", out.String(), fmt.Sprintf("%x", hash.Sum(nil)))
	}

	// A process that ends while its input is still open.
	idle, _ := io.Pipe()
	out.Reset()
	check(name+" open stdin", stream(make, s.ask("exec io both"), remotecommand.StreamOptions{Stdin: idle, Stdout: &out}))
	expect(name+" open stdin", out.String(), "out\n")

	hash := sha256.New()
	errs.Reset()
	before := time.Now()
	check(name+" 100 MB", stream(make, s.ask("exec oe bytes 100000000"), remotecommand.StreamOptions{Stdout: hash, Stderr: &errs}))
	expect(name+" 100 MB", fmt.Sprintf("%x", hash.Sum(nil)), errs.String())
	took := time.Since(before)

	// A slow reader gets every byte, too.
	hash.Reset()
	errs.Reset()
	check(name+" slow", stream(make, s.ask("exec oe bytes 3000000"), remotecommand.StreamOptions{Stdout: slow{hash}, Stderr: &errs}))
	expect(name+" slow", fmt.Sprintf("%x", hash.Sum(nil)), errs.String())

	queue := sizes_(80, 24)
	out.Reset()
	check(name+" sizes", stream(make, s.ask("exec iot sizes 1"), remotecommand.StreamOptions{Stdin: idle, Stdout: &out, Tty: true, TerminalSizeQueue: queue}))
	expect(name+" sizes", out.String(), "80x24\n")

	// A client that leaves.
	lost := s.ask("lost")
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	executor, err := make(s.ask("exec io wait"))
	check(name+" leave", err)
	_ = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: idle, Stdout: io.Discard})
	cancel()
	deadline := time.Now().Add(patience)
	for s.ask("lost") == lost {
		if time.Now().After(deadline) {
			fail("%s leave: the command was not told", name)
		}
		time.Sleep(10 * time.Millisecond)
	}

	// A token works once.
	address := s.ask("exec oe both")
	check(name+" token", stream(make, address, remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard}))
	if stream(make, address, remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard}) == nil {
		fail("%s token: it worked twice", name)
	}
	fmt.Printf("%s: passed in %.1f s, 100 MB in %.1f s\n", name, time.Since(started).Seconds(), took.Seconds())
}

func sizes_(width, height uint16) sizes {
	queue := make(sizes, 1)
	queue <- remotecommand.TerminalSize{Width: width, Height: height}
	return queue
}

// counting is endless input that is not compressible to nothing.
type counting struct{ next byte }

func (c *counting) Read(part []byte) (int, error) {
	for i := range part {
		part[i] = c.next
		c.next = c.next*31 + 7
	}
	return len(part), nil
}

type slow struct{ to io.Writer }

func (s slow) Write(part []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return s.to.Write(part)
}

type newDialer func(address string) (httpstream.Dialer, error)

func forwardSPDY(address string) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, parsed), nil
}

func forwardTunnel(address string) (httpstream.Dialer, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return portforward.NewSPDYOverWebsocketDialer(parsed, config)
}

// forward runs one port forwarder while use uses its local ports.
func forward(s *server, name string, make_ newDialer, remote []string, use func(ports []portforward.ForwardedPort)) {
	dialer, err := make_(s.ask("forward"))
	check(name, err)
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, remote, stop, ready, io.Discard, os.Stderr)
	check(name, err)
	done := make(chan error, 1)
	go func() { done <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		fail("%s: %v", name, err)
	}
	ports, err := forwarder.GetPorts()
	check(name, err)
	use(ports)
	close(stop)
	<-done
}

// echo sends a text through a port and half-closes, and reads to the end.
func echo(name string, port uint16, text []byte) {
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	check(name, err)
	defer connection.Close()
	check(name, connection.SetDeadline(time.Now().Add(patience)))
	go func() {
		_, _ = connection.Write(text)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(connection)
	check(name, err)
	if !bytes.Equal(back, text) {
		fail("%s: %d bytes came back of %d", name, len(back), len(text))
	}
}

func ports(s *server, name string, dial newDialer) {
	started := time.Now()
	var sequential time.Duration
	forward(s, name, dial, []string{":7", ":13"}, func(ports []portforward.ForwardedPort) {
		before := time.Now()
		for i := range 1000 {
			echo(name+" sequential", ports[0].Local, fmt.Appendf(nil, "connection %d", i))
		}
		sequential = time.Since(before)
		echo(name+" much", ports[0].Local, bytes.Repeat([]byte("0123456789abcdef"), 1<<20))
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() { echo(name+" parallel", ports[0].Local, bytes.Repeat([]byte{byte(i)}, 100_000)) })
		}
		group.Wait()
		for range 20 {
			connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1].Local))
			check(name+" greeting", err)
			text, err := io.ReadAll(connection)
			check(name+" greeting", err)
			expect(name+" greeting", string(text), "hello\n")
			connection.Close()
		}
	})
	// A port that cannot be reached ends the local connection.
	forward(s, name, dial, []string{":9"}, func(ports []portforward.ForwardedPort) {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
		check(name+" refused", err)
		check(name+" refused", connection.SetDeadline(time.Now().Add(patience)))
		text, _ := io.ReadAll(connection)
		expect(name+" refused", len(text), 0)
	})
	fmt.Printf("%s: passed in %.1f s, 1000 connections in %.1f s\n", name, time.Since(started).Seconds(), sequential.Seconds())
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: streaming SERVER [ARGUMENT]...")
	}
	command := exec.Command(os.Args[1], os.Args[2:]...)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	check("server", err)
	out, err := command.StdoutPipe()
	check("server", err)
	check("server", command.Start())
	s := &server{in: in, out: bufio.NewReader(out)}
	commands(s, "exec over SPDY", overSPDY, true)
	commands(s, "exec over WebSocket v5", overWebSocket, true)
	commands(s, "exec over WebSocket v4", overWebSocketV4, false)
	commands(s, "exec with fallback", withFallback, true)
	ports(s, "port-forward over SPDY", forwardSPDY)
	ports(s, "port-forward through the tunnel", forwardTunnel)
	in.Close()
	check("server", command.Wait())
	fmt.Println("streaming: all passed")
}
