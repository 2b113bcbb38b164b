package main

import (
	"fmt"
	"strconv"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/sandbox"
)

// newHost makes the host that the configuration asks for.
func newHost(configuration *config.Config) (sandbox.Host, error) {
	server := configuration.APIServer
	if configuration.Isolation == config.Namespaces {
		return nil, fmt.Errorf("isolation is namespaces, which this machine does not offer")
	}
	return sandbox.NewSharedHost(server.Host, strconv.Itoa(server.Port)), nil
}
