// Program e2e runs those specs of Kubernetes' own end-to-end suite that are labelled NodeConformance.
//
// The suite is a test of package e2e, which `go test` makes a program of. This is what that test's TestMain does, with
// the suites alone that hold such specs, and with a file that gets the outcome of every spec as soon as it is known.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"k8s.io/kubernetes/test/e2e"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	e2emanifests "k8s.io/kubernetes/test/e2e/testing-manifests"

	// Names of features, which specs refer to.
	_ "k8s.io/kubernetes/test/e2e/feature"

	// The suites.
	_ "k8s.io/kubernetes/test/e2e/apps"
	_ "k8s.io/kubernetes/test/e2e/common"

	// Parts of the framework that explain failures.
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	_ "k8s.io/kubernetes/test/utils/ktesting/format"
)

// outcome is one line of the file of outcomes.
type outcome struct {
	Name    string   `json:"name"`
	Labels  []string `json:"labels"`
	State   string   `json:"state"`
	Seconds float64  `json:"seconds"`
	Message string   `json:"message"`
	Place   string   `json:"place"`
}

var outcomes = flag.String("outcomes", "", "file that gets a line of JSON for each spec that was run or that skipped itself")

// A spec that no filter chose is reported, too, as one that was skipped without a word.
func note(report ginkgo.SpecReport) {
	isLeft := report.State.Is(types.SpecStateSkipped|types.SpecStatePending) && report.Failure.Message == ""
	if *outcomes == "" || isLeft {
		return
	}
	line, err := json.Marshal(outcome{
		Name:    report.FullText(),
		Labels:  report.Labels(),
		State:   report.State.String(),
		Seconds: report.RunTime.Seconds(),
		Message: report.Failure.Message,
		Place:   report.Failure.Location.String(),
	})
	if err == nil {
		err = appendLine(*outcomes, line)
	}
	if err != nil {
		ginkgo.Fail(err.Error())
	}
}

func appendLine(path string, line []byte) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(line, '\n'))
	return err
}

func main() {
	// Flags of Go's own test runner are read together with the others.
	testing.Init()
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "flags are wanted, not %q\n", flag.Arg(0))
		os.Exit(2)
	}
	testfiles.AddFileSource(e2emanifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	// Not before: the framework looks through all specs, as if it ran them, with a copy of what is registered, and goes
	// on with another copy, which has none of the hooks.
	ginkgo.ReportAfterEach(note)
	// testing.Main is for programs that stand in for what `go test` makes.
	every := func(string, string) (bool, error) { return true, nil }
	testing.Main(every, []testing.InternalTest{{Name: "TestE2E", F: e2e.RunE2ETests}}, nil, nil)
}
