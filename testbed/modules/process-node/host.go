package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"strconv"

	"k8s.io/client-go/kubernetes"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/internal/services"
	"stepworks.dev/testbed/process-node/sandbox"
)

// newHost makes the host that the configuration asks for. Its pods reach the cluster's Services until the context
// ends.
func newHost(
	ctx context.Context, configuration *config.Config, client kubernetes.Interface, state string,
) (sandbox.Host, error) {
	server := configuration.APIServer
	shared := sandbox.NewSharedHost(server.Host, strconv.Itoa(server.Port))
	if configuration.Isolation == config.Shared {
		return shared, nil
	}
	host, fabric, err := sandbox.NewNamespacesHost(sandbox.Options{
		Pods: configuration.PodCIDR, Services: configuration.ServiceCIDR, Domain: configuration.ClusterDomain, State: state,
	})
	switch {
	case err != nil && configuration.Isolation == config.Auto:
		log.Printf("pods share this machine's network and files, for it gives them no namespaces: %v", err)
		return shared, nil
	case err != nil:
		return nil, fmt.Errorf("isolation is \"namespaces\", which this machine does not offer: %w", err)
	}
	network, err := sandbox.NewServiceNetwork(fabric, configuration.ClusterDomain)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	context.AfterFunc(ctx, network.Close)
	address, err := netip.ParseAddr(server.Host)
	if err == nil {
		cluster := services.Cluster{
			Pods: configuration.PodCIDR, APIServer: netip.AddrPortFrom(address, uint16(server.Port)),
		}
		err = services.Follow(ctx, client, cluster, network)
	}
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return host, nil
}
