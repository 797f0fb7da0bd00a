// Command authentication judges tokens as Kubernetes' API server does: with its own authenticator for JSON Web Tokens, and a
// file for --authentication-config.
//
// Its argument is the file. Each line of its input is a token; for each it writes {"username", "groups"} or {"error"} as a
// line. It begins when the issuers' keys are there.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// Real time on a machine that does other things, too.
const patience = time.Minute

type authority string

func (a authority) CurrentCABundleContent() []byte {
	return []byte(a)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "authentication:", err)
	os.Exit(1)
}

func load(path string) (*apiserver.AuthenticationConfiguration, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), bytes)
	if err != nil {
		return nil, err
	}
	configuration, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("it is a %T", object)
	}
	return configuration, validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), configuration, nil).ToAggregate()
}

func start(ctx context.Context, jwt apiserver.JWTAuthenticator) (authenticator.Token, error) {
	options := oidc.Options{JWTAuthenticator: jwt, SupportedSigningAlgs: oidc.AllValidSigningAlgorithms()}
	if len(jwt.Issuer.CertificateAuthority) > 0 {
		options.CAContentProvider = authority(jwt.Issuer.CertificateAuthority)
	}
	judge, err := oidc.New(ctx, options)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for judge.HealthCheck() != nil {
		if time.Now().After(deadline) {
			return nil, judge.HealthCheck()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return judge, nil
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: authentication CONFIGURATION"))
	}
	configuration, err := load(os.Args[1])
	if err != nil {
		fail(err)
	}
	ctx := context.Background()
	judge, err := start(ctx, configuration.JWT[0])
	if err != nil {
		fail(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := map[string]any{}
		response, known, err := judge.AuthenticateToken(ctx, lines.Text())
		switch {
		case err != nil:
			answer["error"] = err.Error()
		case !known:
			answer["error"] = "the token is of another issuer"
		default:
			answer["username"], answer["groups"] = response.User.GetName(), response.User.GetGroups()
		}
		line, err := json.Marshal(answer)
		if err != nil {
			fail(err)
		}
		fmt.Println(string(line))
	}
}
