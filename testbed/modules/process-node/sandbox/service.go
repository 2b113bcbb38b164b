package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Service is a Kubernetes Service as pods and the machine reach it.
type Service struct {
	Namespace string
	Name      string
	// Addresses are the cluster IPs, each of IPv4; none for a headless Service.
	Addresses []netip.Addr
	// ExternalName is the name that the Service stands for, where it has no addresses of its own.
	ExternalName string
	Ports        []ServicePort
	// Endpoints are the pods that its name leads to, where it is headless.
	Endpoints []Endpoint
}

// ServicePort is a TCP port of a Service, and where its connections go.
type ServicePort struct {
	Port uint16
	// NodePort is the port of the machine's loopback address that leads here too; 0 for none.
	NodePort uint16
	// Endpoints take turns; while there is none, connections are refused.
	Endpoints []netip.AddrPort
}

// Endpoint is a pod behind a Service.
type Endpoint struct {
	// Hostname is the pod's name within the Service; empty where it is known by its address only.
	Hostname string
	Address  netip.Addr
}

// ServiceSink takes notice of Services. A Host that is one lets its pods reach them.
type ServiceSink interface {
	// SetService makes a Service reachable, or changes it.
	SetService(service Service) error
	// RemoveService takes it away; one that is not there is no error.
	RemoveService(namespace, name string)
}

// ServiceNetwork answers for the Services of a cluster: a DNS server for their names, and a TCP proxy for their
// addresses. It is a ServiceSink.
type ServiceNetwork struct {
	names   *names
	server  *nameServer
	inside  *proxy // cluster IPs
	machine *proxy // node ports
}

// NewServiceNetwork begins to answer on a fabric; the names of Services end in svc.<domain>.
func NewServiceNetwork(fabric Fabric, domain string) (*ServiceNetwork, error) {
	known := newNames(domain)
	server, err := newNameServer(fabric, known)
	if err != nil {
		return nil, fmt.Errorf("cannot answer for names on %s: %w", fabric.Gateway(), err)
	}
	return &ServiceNetwork{known, server, newProxy(fabric.Listen), newProxy(listenOnMachine)}, nil
}

func listenOnMachine(address netip.AddrPort) (net.Listener, error) {
	return net.Listen("tcp4", address.String())
}

// SetService makes a Service reachable, or changes it. Where one of its ports cannot be offered the others still are.
func (n *ServiceNetwork) SetService(service Service) error {
	clusterIPs, nodePorts := routes{}, routes{}
	for _, port := range service.Ports {
		for _, address := range service.Addresses {
			clusterIPs[netip.AddrPortFrom(address, port.Port)] = port.Endpoints
		}
		if port.NodePort != 0 {
			nodePorts[netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port.NodePort)] = port.Endpoints
		}
	}
	key := serviceKey{service.Namespace, service.Name}
	n.names.set(key, service)
	return errors.Join(n.inside.set(key, clusterIPs), n.machine.set(key, nodePorts))
}

// RemoveService takes a Service away. Connections that are open stay, as they do in a cluster.
func (n *ServiceNetwork) RemoveService(namespace, name string) {
	key := serviceKey{namespace, name}
	n.names.remove(key)
	// Nothing is listened on anew, so nothing can fail.
	_ = n.inside.set(key, nil)
	_ = n.machine.set(key, nil)
}

// Close ends all answers and connections.
func (n *ServiceNetwork) Close() {
	var ends sync.WaitGroup
	for _, end := range []func(){n.server.close, n.inside.close, n.machine.close} {
		ends.Go(end)
	}
	ends.Wait()
}

type serviceKey struct{ namespace, name string }

func (k serviceKey) String() string { return k.namespace + "/" + k.name }
