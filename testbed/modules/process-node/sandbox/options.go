package sandbox

import (
	"net"
	"net/netip"
)

// Options is what a Host of pods in namespaces of their own needs to know.
type Options struct {
	// Pods and Services are the ranges of their addresses.
	Pods, Services netip.Prefix
	// Domain is the cluster's, such as cluster.local.
	Domain string
	// State is the folder of the process node; it tells the control groups of one from those of another.
	State string
}

// Fabric is the network of the pods, as those see it that answer in it for Services and names.
type Fabric interface {
	// Gateway is the address that pods ask for names.
	Gateway() netip.Addr
	// Listen and ListenPacket take what pods and the machine send to an address of the fabric: the gateway's, or any of
	// the Services' range.
	Listen(address netip.AddrPort) (net.Listener, error)
	ListenPacket(address netip.AddrPort) (net.PacketConn, error)
}
