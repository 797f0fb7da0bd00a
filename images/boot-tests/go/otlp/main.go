// Otlp is the OpenTelemetry collector's own receiver of OTLP over HTTP, with nothing behind it: what it was sent is printed.
//
//	otlp ADDRESS [CERTIFICATE KEY CLIENT-AUTHORITY]
//
// With files it speaks TLS and believes clients with certificates of that authority alone. It prints `ready` when it
// listens, and then one line for each request: its log records in the JSON encoding of OTLP, as the collector writes it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "otlp:", err)
		os.Exit(1)
	}
}

func serve(words []string) error {
	if len(words) != 1 && len(words) != 4 {
		return fmt.Errorf("usage: otlp ADDRESS [CERTIFICATE KEY CLIENT-AUTHORITY]")
	}
	// As people write it in the file of a collector.
	http := map[string]any{"endpoint": words[0]}
	if len(words) == 4 {
		http["tls"] = map[string]any{"cert_file": words[1], "key_file": words[2], "client_ca_file": words[3]}
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	written := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": http}})
	if err := written.Unmarshal(config); err != nil {
		return err
	}
	sink, err := sink()
	if err != nil {
		return err
	}
	settings := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	logs, err := factory.CreateLogs(ctx, settings, config, sink)
	if err != nil {
		return err
	}
	if err := logs.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return logs.Shutdown(context.Background())
}

// Prints requests, one at a time, and takes a request only when its line is out.
func sink() (consumer.Logs, error) {
	var alone sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	return consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		text, err := (&plog.JSONMarshaler{}).MarshalLogs(logs)
		if err != nil {
			return err
		}
		alone.Lock()
		defer alone.Unlock()
		out.Write(text)
		out.WriteByte('\n')
		return out.Flush()
	})
}
