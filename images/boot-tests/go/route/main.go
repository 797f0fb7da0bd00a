// Command route judges the HTTP router with Go's own clients and servers, and with gorilla's WebSockets.
//
// Its arguments are the router's address, its address for TLS, the address at which it expects the instance of app.example
// (HTTP/1.1), the one of two.example (HTTP/2 without TLS), and the root of its certificates.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Real time on a machine that does other things, too.
const patience = 2 * time.Minute

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "route: "+format+"\n", arguments...)
	os.Exit(1)
}

func check(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func expect(what string, got, want any) {
	if got != want {
		fail("%s: got %v, not %v", what, got, want)
	}
}

// What pods would run.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.Host, r.Header.Get("X-Forwarded-Proto"))
	})
	// Both directions at a time: what comes is sent back at once, with a trailer behind it.
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil && r.ProtoMajor == 1 {
			fail("full duplex: %v", err)
		}
		w.Header().Set("Trailer", "X-Count")
		w.WriteHeader(http.StatusOK)
		check("flush", control.Flush())
		count, part := 0, make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(part)
			count += n
			if n > 0 {
				if _, err := w.Write(part[:n]); err != nil {
					return
				}
				control.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Count", fmt.Sprint(count))
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for number := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", number)
			http.NewResponseController(w).Flush()
			time.Sleep(200 * time.Millisecond)
		}
		<-r.Context().Done()
	})
	upgrader := websocket.Upgrader{EnableCompression: true, Subprotocols: []string{"echo"}}
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer connection.Close()
		for {
			kind, message, err := connection.ReadMessage()
			if err != nil {
				return
			}
			if connection.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	return mux
}

func serve(address string, protocols *http.Protocols) {
	listener, err := net.Listen("tcp", address)
	check("listen", err)
	server := &http.Server{Handler: handler(), Protocols: protocols}
	go server.Serve(listener)
}

func get(client *http.Client, url string) (*http.Response, string) {
	response, err := client.Get(url)
	check(url, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(url, err)
	return response, string(body)
}

// Sends parts one by one and waits for each to come back.
func echo(what string, client *http.Client, url string) {
	reader, writer := io.Pipe()
	request, err := http.NewRequest("POST", url, reader)
	check(what, err)
	request.Header.Set("TE", "trailers")
	answered := make(chan *http.Response)
	go func() {
		response, err := client.Do(request)
		check(what, err)
		answered <- response
	}()
	_, err = writer.Write([]byte("first"))
	check(what, err)
	response := <-answered
	back := make([]byte, 5)
	_, err = io.ReadFull(response.Body, back)
	check(what, err)
	expect(what, string(back), "first")
	much := make([]byte, 3<<20)
	rand.Read(much)
	go func() {
		writer.Write(much)
		writer.Close()
	}()
	rest, err := io.ReadAll(response.Body)
	check(what, err)
	if !bytes.Equal(rest, much) {
		fail("%s: %d bytes came back, of %d", what, len(rest), len(much))
	}
	expect(what+": trailer", response.Trailer.Get("X-Count"), fmt.Sprint(5+len(much)))
}

func socket(what string, dialer *websocket.Dialer, url string) {
	connection, response, err := dialer.Dial(url, http.Header{"Origin": {strings.Replace(url, "ws", "http", 1)}})
	check(what, err)
	expect(what, response.Header.Get("Sec-Websocket-Protocol"), "echo")
	defer connection.Close()
	for _, size := range []int{0, 1, 125, 126, 65536, 1 << 20} {
		message := make([]byte, size)
		rand.Read(message)
		check(what, connection.WriteMessage(websocket.BinaryMessage, message))
		kind, back, err := connection.ReadMessage()
		check(what, err)
		expect(what, kind, websocket.BinaryMessage)
		if !bytes.Equal(back, message) {
			fail("%s: %d bytes came back in another way", what, size)
		}
	}
	pong := make(chan string, 1)
	connection.SetPongHandler(func(text string) error { pong <- text; return nil })
	check(what, connection.WriteControl(websocket.PingMessage, []byte("here?"), time.Now().Add(patience)))
	end := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "done")
	check(what, connection.WriteControl(websocket.CloseMessage, end, time.Now().Add(patience)))
	_, _, err = connection.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		fail("%s: it ended with %v", what, err)
	}
	expect(what, <-pong, "here?")
}

func main() {
	if len(os.Args) != 6 {
		fail("usage: route ROUTER TLS ONE TWO ROOT")
	}
	router, routerTLS := os.Args[1], os.Args[2]
	pem, err := os.ReadFile(os.Args[5])
	check("root", err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	time.AfterFunc(patience, func() { fail("it takes too long") })

	only := func(set func(*http.Protocols)) *http.Protocols {
		protocols := new(http.Protocols)
		set(protocols)
		return protocols
	}
	http1 := only(func(p *http.Protocols) { p.SetHTTP1(true) })
	http2 := only(func(p *http.Protocols) { p.SetHTTP2(true) })
	h2c := only(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	serve(os.Args[3], http1)
	serve(os.Args[4], h2c)

	// Every name is at the router.
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":443") {
			return net.Dial(network, routerTLS)
		}
		return net.Dial(network, router)
	}
	config := &tls.Config{RootCAs: roots}
	client := func(protocols *http.Protocols) *http.Client {
		return &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: config, Protocols: protocols}}
	}
	clients := []struct {
		name, scheme, proto string
		client              *http.Client
	}{
		{"HTTP/1.1", "http", "HTTP/1.1", client(http1)},
		{"HTTP/1.1 with TLS", "https", "HTTP/1.1", client(http1)},
		{"HTTP/2 with TLS", "https", "HTTP/2.0", client(http2)},
		{"HTTP/2 without TLS", "http", "HTTP/2.0", client(h2c)},
	}
	for _, c := range clients {
		for _, host := range []struct{ name, proto string }{{"app.example", "HTTP/1.1"}, {"two.example", "HTTP/2.0"}} {
			what := fmt.Sprintf("%s to %s", c.name, host.name)
			if c.scheme == "https" && host.name == "two.example" {
				continue // There is no certificate of that name.
			}
			url := c.scheme + "://" + host.name
			response, body := get(c.client, url+"/who")
			expect(what, response.Proto, c.proto)
			expect(what, body, fmt.Sprintf("%s %s %s", host.proto, host.name, c.scheme))
			echo(what, c.client, url+"/echo")

			// Many at a time over one connection.
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					response, _ := get(c.client, url+"/who")
					expect(what, response.StatusCode, 200)
				})
			}
			all.Wait()

			// Events come one by one, and the instance learns that the client goes.
			ctx, cancel := context.WithCancel(context.Background())
			request, _ := http.NewRequestWithContext(ctx, "GET", url+"/events", nil)
			response, err := c.client.Do(request)
			check(what, err)
			lines, start := bufio.NewScanner(response.Body), time.Now()
			var first time.Duration
			for number := 0; number < 3 && lines.Scan(); {
				if lines.Text() == fmt.Sprintf("data: %d", number) {
					if number++; number == 1 {
						first = time.Since(start)
					}
				}
			}
			if last := time.Since(start); last-first < 300*time.Millisecond {
				fail("%s: events came together, within %v", what, last-first)
			}
			cancel()
			if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
				fail("%s: %v", what, err)
			}
			response.Body.Close()
		}
	}

	dialer := &websocket.Dialer{
		NetDialContext: dial, TLSClientConfig: config, EnableCompression: true, Subprotocols: []string{"echo"},
	}
	socket("WebSocket", dialer, "ws://app.example/socket")
	socket("WebSocket with TLS", dialer, "wss://app.example/socket")
	fmt.Println("every client and every server of Go's was served")
}
