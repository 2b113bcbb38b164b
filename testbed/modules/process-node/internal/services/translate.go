package services

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/sandbox"
)

// translate says how a Service with these endpoints is reached.
func (c Cluster) translate(service *v1.Service, parts []*discoveryv1.EndpointSlice) sandbox.Service {
	result := sandbox.Service{Namespace: service.Namespace, Name: service.Name}
	if service.Spec.Type == v1.ServiceTypeExternalName {
		result.ExternalName = service.Spec.ExternalName
		return result
	}
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
			result.Addresses = append(result.Addresses, address)
		}
	}
	isAPIServer := service.Namespace == metav1.NamespaceDefault && service.Name == "kubernetes"
	for _, port := range service.Spec.Ports {
		if port.Protocol != v1.ProtocolTCP && port.Protocol != "" {
			continue
		}
		endpoints := c.portEndpoints(port.Name, parts)
		if isAPIServer {
			endpoints = []netip.AddrPort{c.APIServer}
		}
		result.Ports = append(result.Ports, sandbox.ServicePort{
			Port: uint16(port.Port), NodePort: uint16(port.NodePort), Endpoints: endpoints,
		})
	}
	for _, part := range parts {
		eachReady(part, func(address netip.Addr, endpoint discoveryv1.Endpoint) {
			named := sandbox.Endpoint{Address: address}
			if endpoint.Hostname != nil {
				named.Hostname = *endpoint.Hostname
			}
			result.Endpoints = append(result.Endpoints, named)
		})
	}
	return result
}

// portEndpoints are where the connections of a port go, in order: an unchanged set of endpoints is the same list.
func (c Cluster) portEndpoints(name string, parts []*discoveryv1.EndpointSlice) []netip.AddrPort {
	var found []netip.AddrPort
	for _, part := range parts {
		for _, port := range part.Ports {
			isTCP := port.Protocol == nil || *port.Protocol == v1.ProtocolTCP
			if !isTCP || port.Port == nil || valueOf(port.Name) != name {
				continue
			}
			eachReady(part, func(address netip.Addr, endpoint discoveryv1.Endpoint) {
				isPod := endpoint.TargetRef != nil && endpoint.TargetRef.Kind == "Pod"
				if isPod && !c.Pods.Contains(address) {
					return // a simulated pod's: whatever has that address in truth, it is not the pod
				}
				found = append(found, netip.AddrPortFrom(address, uint16(*port.Port)))
			})
		}
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return slices.Compact(found)
}

func eachReady(part *discoveryv1.EndpointSlice, take func(netip.Addr, discoveryv1.Endpoint)) {
	if part.AddressType != discoveryv1.AddressTypeIPv4 {
		return
	}
	for _, endpoint := range part.Endpoints {
		if ready := endpoint.Conditions.Ready; ready != nil && !*ready {
			continue
		}
		for _, text := range endpoint.Addresses {
			if address, err := netip.ParseAddr(text); err == nil {
				take(address, endpoint)
			}
		}
	}
}

func valueOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
