// Command process-node runs the pods of Kubernetes nodes as processes of this machine; see README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"stepworks.dev/testbed/process-node/internal/api"
	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/internal/kubelet"
	"stepworks.dev/testbed/process-node/internal/nodes"
	"stepworks.dev/testbed/process-node/internal/provisioner"
	"stepworks.dev/testbed/process-node/sandbox"
)

const (
	// stopping is how long a stop may take in all; who stops this process waits a little longer.
	stopping   = 12 * time.Second
	podsFolder = "pods"
)

type options struct {
	kubeconfig, config, state, readyFile string
}

func main() {
	sandbox.RunRole(os.Args) // where this program is a process of a pod, this does not return
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "process-node:", err)
		os.Exit(1)
	}
}

func command(arguments []string) error {
	isSweep := len(arguments) > 0 && arguments[0] == "sweep"
	if isSweep {
		arguments = arguments[1:]
	}
	var given options
	flags := flag.NewFlagSet("process-node", flag.ContinueOnError)
	flags.StringVar(&given.state, "state", "", "the folder for what must be kept in files")
	if !isSweep {
		flags.StringVar(&given.kubeconfig, "kubeconfig", "", "how to reach the API server")
		flags.StringVar(&given.config, "config", "", "the configuration; README.md describes it")
		flags.StringVar(&given.readyFile, "ready-file", "", "a file that is written when pods can be scheduled")
	}
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if given.state == "" || flags.NArg() > 0 {
		return fmt.Errorf("--state is needed, and nothing but flags")
	}
	if isSweep {
		return sweep(given.state)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	return serve(ctx, given)
}

// sweep removes what an earlier process left that was killed.
func sweep(state string) error {
	sandbox.Sweep(state)
	return os.RemoveAll(filepath.Join(state, podsFolder))
}

func serve(ctx context.Context, given options) error {
	configuration, err := config.Load(given.config)
	if err != nil {
		return err
	}
	state, err := filepath.Abs(given.state)
	if err != nil {
		return err
	}
	if err := sweep(state); err != nil {
		return err
	}
	settings, err := clientcmd.BuildConfigFromFlags("", given.kubeconfig)
	if err != nil {
		return fmt.Errorf("the kubeconfig %s cannot be used: %w", given.kubeconfig, err)
	}
	settings.QPS = -1 // the API server is our own, and a late status is a slow test
	client, err := kubernetes.NewForConfig(settings)
	if err != nil {
		return err
	}
	host, err := newHost(ctx, configuration, client, state)
	if err != nil {
		return err
	}
	defer host.Close()
	server, err := api.Listen(configuration.TLS)
	if err != nil {
		return err
	}
	defer server.Close()
	pods := kubelet.New(client, configuration, host, filepath.Join(state, podsFolder))
	return run(ctx, given.readyFile, configuration, client, server, pods)
}

// run serves until the context ends, and then ends what runs and takes the nodes out of the cluster.
func run(
	ctx context.Context, readyFile string, configuration *config.Config, client kubernetes.Interface, server *api.Server,
	pods *kubelet.Kubelet,
) error {
	working, cancel := context.WithCancel(context.Background()) // what runs must still be told of while it is ended
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(pods) }()
	kept := nodes.New(client, configuration.Nodes, server.Port)
	err := kept.Register(ctx)
	if err == nil {
		pods.Start(working)
		go kept.Keep(ctx)
		go provisioner.Run(ctx, client, configuration.Claims)
		if readyFile != "" {
			err = os.WriteFile(readyFile, []byte("ready\n"), 0o644)
		}
	}
	if err == nil {
		log.Printf("%d nodes are ready; the kubelet API listens on port %d", len(configuration.Nodes), server.Port)
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	limited, stop := context.WithTimeout(working, stopping)
	defer stop()
	if ended := pods.Shutdown(limited); err == nil {
		err = ended
	}
	if removed := kept.Remove(limited); err == nil {
		err = removed
	}
	return err
}
