// A foreign client of CRI, k8s.io/cri-client, takes a pod through its life. Called with the socket of the runtime, an
// image with a shell that is there, and a folder for logs; the pod is in the host's network.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	remote "k8s.io/cri-client/pkg"
)

const limit = time.Minute

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: cri-client SOCKET IMAGE LOGS")
		os.Exit(2)
	}
	for _, streaming := range []bool{false, true} {
		if err := life(os.Args[1], os.Args[2], os.Args[3], streaming); err != nil {
			fmt.Fprintf(os.Stderr, "cri-client: streamed lists %v: %v\n", streaming, err)
			os.Exit(1)
		}
	}
	fmt.Println("cri-client: all passed")
}

func life(socket, image, logs string, streaming bool) error {
	ctx := context.Background()
	endpoint := "unix://" + socket
	builder := remote.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(limit)
	runtime, err := builder.WithUseStreaming(streaming).Build(ctx)
	if err != nil {
		return err
	}
	ofImages := remote.NewRemoteImageServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(limit)
	images, err := ofImages.WithUseStreaming(streaming).Build(ctx)
	if err != nil {
		return err
	}
	version, err := runtime.Version(ctx, "")
	if err != nil {
		return err
	}
	if version.RuntimeName != "lepton" || version.RuntimeApiVersion != "v1" {
		return fmt.Errorf("version: %v", version)
	}
	spec := &cri.ImageSpec{Image: image}
	found, err := images.ImageStatus(ctx, spec, false)
	if err != nil || found.Image == nil {
		return fmt.Errorf("image status: %v, %w", found, err)
	}
	list, err := images.ListImages(ctx, nil)
	if err != nil || len(list) == 0 {
		return fmt.Errorf("images: %v, %w", list, err)
	}

	host := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}
	pod := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "foreign", Namespace: "default", Uid: "1"},
		LogDirectory: logs,
		Labels:       map[string]string{"app": "foreign"},
		Linux: &cri.LinuxPodSandboxConfig{
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: host},
		},
	}
	id, err := runtime.RunPodSandbox(ctx, pod, "")
	if err != nil {
		return err
	}
	container := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "main"},
		Image:    spec,
		Command:  []string{"sh", "-c", "echo hello; while :; do sleep 1; done"},
		LogPath:  "main.log",
		Linux: &cri.LinuxContainerConfig{
			SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: host},
		},
	}
	main, err := runtime.CreateContainer(ctx, id, container, pod)
	if err != nil {
		return err
	}
	if err := runtime.StartContainer(ctx, main); err != nil {
		return err
	}
	running, err := runtime.ListContainers(ctx, &cri.ContainerFilter{PodSandboxId: id})
	if err != nil || len(running) != 1 || running[0].State != cri.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("containers: %v, %w", running, err)
	}
	pods, err := runtime.ListPodSandbox(ctx, &cri.PodSandboxFilter{LabelSelector: map[string]string{"app": "foreign"}})
	if err != nil || len(pods) != 1 || pods[0].Id != id {
		return fmt.Errorf("pods: %v, %w", pods, err)
	}
	out, errors, err := runtime.ExecSync(ctx, main, []string{"sh", "-c", "echo out; echo err >&2"}, limit)
	if err != nil || string(out) != "out\n" || string(errors) != "err\n" {
		return fmt.Errorf("exec: %q, %q, %w", out, errors, err)
	}
	if _, _, err = runtime.ExecSync(ctx, main, []string{"sh", "-c", "exit 7"}, limit); err == nil {
		return fmt.Errorf("a program that failed is no error")
	}
	stats, err := runtime.ContainerStats(ctx, main)
	if err != nil || stats.Cpu.GetUsageCoreNanoSeconds().GetValue() == 0 {
		return fmt.Errorf("stats: %v, %w", stats, err)
	}
	if err := runtime.StopContainer(ctx, main, 0); err != nil {
		return err
	}
	ended, err := runtime.ContainerStatus(ctx, main, false)
	if err != nil || ended.Status.State != cri.ContainerState_CONTAINER_EXITED || ended.Status.ExitCode != 137 {
		return fmt.Errorf("status: %v, %w", ended, err)
	}
	log, err := os.ReadFile(filepath.Join(logs, "main.log"))
	if err != nil || len(log) == 0 {
		return fmt.Errorf("log: %q, %w", log, err)
	}
	if err := runtime.RemoveContainer(ctx, main); err != nil {
		return err
	}
	if err := runtime.StopPodSandbox(ctx, id); err != nil {
		return err
	}
	if err := runtime.RemovePodSandbox(ctx, id); err != nil {
		return err
	}
	_, err = runtime.PodSandboxStatus(ctx, id, false)
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("status of a removed pod: %v", err)
	}
	return nil
}
