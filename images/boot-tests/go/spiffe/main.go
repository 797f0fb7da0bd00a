// Command spiffe asks a SPIFFE Workload API as services in Go do: with go-spiffe's sources, unchanged.
//
// SPIFFE_ENDPOINT_SOCKET names the API. Its answers are JSON, one value a line:
//
//	watch              each X.509 context and each set of JWT bundles, until its input ends
//	jwt AUDIENCE [ID]  a JWT-SVID, validated here by the API's bundles and by the API itself
//	serve DOMAIN       a TLS server with its own SVID for members of a trust domain, until its input ends
//	dial ADDRESS DOMAIN  connects again and again until its input ends; a connection that fails ends it
//
// It ends with 1 and {"error": CODE, "message": TEXT} when the API refuses.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

// Real time on a machine that does other things, too.
const patience = 30 * time.Second

// Between two connections of dial.
const pause = 20 * time.Millisecond

var output sync.Mutex

func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func fail(err error) {
	say(map[string]string{"error": status.Code(err).String(), "message": err.Error()})
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

type x509View struct {
	Kind    string              `json:"kind"`
	Svids   []svidView          `json:"svids"`
	Bundles map[string][]string `json:"bundles"`
}

type svidView struct {
	ID        string    `json:"id"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DNSNames  []string  `json:"dns_names"`
	Hint      string    `json:"hint"`
}

func viewOf(svid *x509svid.SVID) svidView {
	leaf := svid.Certificates[0]
	return svidView{svid.ID.String(), leaf.SerialNumber.String(), leaf.NotBefore, leaf.NotAfter, leaf.DNSNames, svid.Hint}
}

func digests(certificates []*x509.Certificate) []string {
	list := []string{}
	for _, certificate := range certificates {
		sum := sha256.Sum256(certificate.Raw)
		list = append(list, hex.EncodeToString(sum[:]))
	}
	return list
}

// watcher writes what comes.
type watcher struct{}

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	view := x509View{Kind: "x509", Bundles: map[string][]string{}}
	for _, svid := range update.SVIDs {
		view.Svids = append(view.Svids, viewOf(svid))
	}
	for _, bundle := range update.Bundles.Bundles() {
		view.Bundles[bundle.TrustDomain().Name()] = digests(bundle.X509Authorities())
	}
	say(view)
}

func (watcher) OnX509ContextWatchError(err error) {
	refusal("x509", err)
}

func (watcher) OnJWTBundlesUpdate(set *jwtbundle.Set) {
	keys := map[string][]string{}
	for _, bundle := range set.Bundles() {
		list := []string{}
		for id := range bundle.JWTAuthorities() {
			list = append(list, id)
		}
		keys[bundle.TrustDomain().Name()] = list
	}
	say(map[string]any{"kind": "jwt-bundles", "keys": keys})
}

func (watcher) OnJWTBundlesWatchError(err error) {
	refusal("jwt-bundles", err)
}

func refusal(of string, err error) {
	say(map[string]string{"kind": "refused", "of": of, "error": status.Code(err).String(), "message": err.Error()})
}

// untilInputEnds gives a context that ends when nobody listens any more.
func untilInputEnds() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func watch() {
	ctx := untilInputEnds()
	var group sync.WaitGroup
	group.Add(2)
	go func() {
		defer group.Done()
		_ = workloadapi.WatchX509Context(ctx, watcher{})
	}()
	go func() {
		defer group.Done()
		_ = workloadapi.WatchJWTBundles(ctx, watcher{})
	}()
	group.Wait()
}

func jwt(audience string, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := workloadapi.New(ctx)
	check(err)
	defer client.Close()
	params := jwtsvid.Params{Audience: audience}
	if id != "" {
		params.Subject, err = spiffeid.FromString(id)
		check(err)
	}
	svids, err := client.FetchJWTSVIDs(ctx, params)
	check(err)
	source, err := workloadapi.NewJWTSource(ctx, workloadapi.WithClient(client))
	check(err)
	defer source.Close()
	for _, svid := range svids {
		// By the keys that the API gives, and by the API.
		here, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{audience})
		check(err)
		there, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience)
		check(err)
		if here.ID != svid.ID || there.ID != svid.ID {
			fail(fmt.Errorf("%v is validated as %v and as %v", svid.ID, here.ID, there.ID))
		}
		_, err = client.ValidateJWTSVID(ctx, svid.Marshal(), "not-"+audience)
		if err == nil {
			fail(fmt.Errorf("another audience is validated"))
		}
		say(map[string]any{
			"kind": "jwt", "id": svid.ID.String(), "audience": svid.Audience, "expiry": svid.Expiry,
			"hint": svid.Hint, "token": svid.Marshal(),
		})
	}
}

func source(ctx context.Context) *workloadapi.X509Source {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := workloadapi.NewX509Source(limited)
	check(err)
	return source
}

// serve answers each connection with the SPIFFE ID of its peer.
func serve(domain spiffeid.TrustDomain) {
	ctx := untilInputEnds()
	source := source(ctx)
	defer source.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeMemberOf(domain)))
	check(err)
	say(map[string]string{"kind": "serving", "address": listener.Addr().String()})
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(connection.(*tls.Conn))
		}
	}()
	<-ctx.Done()
}

func answer(connection *tls.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	if err := connection.Handshake(); err != nil {
		return
	}
	id, err := x509svid.IDFromCert(connection.ConnectionState().PeerCertificates[0])
	if err != nil {
		return
	}
	fmt.Fprintln(connection, id)
}

func dial(address string, domain spiffeid.TrustDomain) {
	ctx := untilInputEnds()
	source := source(ctx)
	defer source.Close()
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeMemberOf(domain))
	count, last := 0, ""
	for ctx.Err() == nil {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
		connection, err := dialer.Dial("tcp", address)
		check(err)
		_ = connection.SetDeadline(time.Now().Add(patience))
		seen, err := bufio.NewReader(connection).ReadString('\n')
		check(err)
		peer := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
		own, err := source.GetX509SVID()
		check(err)
		connection.Close()
		count++
		// A line for each pair of certificates.
		pair := peer.SerialNumber.String() + " " + own.Certificates[0].SerialNumber.String()
		if pair != last {
			last = pair
			say(map[string]any{
				"kind": "connected", "count": count, "peer_serial": peer.SerialNumber.String(),
				"peer": peer.URIs[0].String(), "seen_as": strings.TrimSpace(seen),
			})
		}
		time.Sleep(pause)
	}
	say(map[string]any{"kind": "ended", "count": count})
}

func main() {
	arguments := append(os.Args[1:], "", "", "")
	switch arguments[0] {
	case "watch":
		watch()
	case "jwt":
		jwt(arguments[1], arguments[2])
	case "serve":
		domain, err := spiffeid.TrustDomainFromString(arguments[1])
		check(err)
		serve(domain)
	case "dial":
		domain, err := spiffeid.TrustDomainFromString(arguments[2])
		check(err)
		dial(arguments[1], domain)
	default:
		fmt.Fprintln(os.Stderr, "usage: spiffe watch | jwt AUDIENCE [ID] | serve DOMAIN | dial ADDRESS DOMAIN")
		os.Exit(2)
	}
}
