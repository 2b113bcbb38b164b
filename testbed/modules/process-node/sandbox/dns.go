package sandbox

import (
	"net/netip"
	"strings"
	"sync"
)

// names knows what the names of a cluster stand for.
type names struct {
	suffix string // of the names of all Services, with the dot before it

	mutex    sync.RWMutex
	services map[serviceKey]Service
}

// record is what a name stands for: addresses, or another name.
type record struct {
	alias     string
	addresses []netip.Addr
}

func newNames(domain string) *names {
	return &names{suffix: ".svc." + strings.ToLower(domain), services: map[serviceKey]Service{}}
}

func (n *names) set(key serviceKey, service Service) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.services[key] = service
}

func (n *names) remove(key serviceKey) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.services, key)
}

// find looks a full name up: service.namespace.svc.<domain>, or host.service.namespace.svc.<domain> for a pod behind
// the Service. It reports whether there is one; a headless Service without endpoints has no name, as in a cluster.
func (n *names) find(name string) (record, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	within, isService := strings.CutSuffix(name, n.suffix)
	if !isService {
		return record{}, false
	}
	labels := strings.Split(within, ".")
	if len(labels) != 2 && len(labels) != 3 {
		return record{}, false
	}
	last := len(labels) - 1
	n.mutex.RLock()
	service, found := n.services[serviceKey{labels[last], labels[last-1]}]
	n.mutex.RUnlock()
	if !found {
		return record{}, false
	}
	if len(labels) == 2 {
		return service.record()
	}
	var addresses []netip.Addr
	for _, endpoint := range service.Endpoints {
		if endpoint.label() == labels[0] {
			addresses = append(addresses, endpoint.Address)
		}
	}
	return record{addresses: addresses}, len(addresses) > 0
}

func (s Service) record() (record, bool) {
	if s.ExternalName != "" {
		return record{alias: strings.TrimSuffix(s.ExternalName, ".")}, true
	}
	if len(s.Addresses) > 0 {
		return record{addresses: s.Addresses}, true
	}
	var addresses []netip.Addr
	for _, endpoint := range s.Endpoints {
		addresses = append(addresses, endpoint.Address)
	}
	return record{addresses: addresses}, len(addresses) > 0
}

// label is the endpoint's own part of its name.
func (e Endpoint) label() string {
	if e.Hostname != "" {
		return strings.ToLower(e.Hostname)
	}
	return strings.ReplaceAll(e.Address.String(), ".", "-")
}
