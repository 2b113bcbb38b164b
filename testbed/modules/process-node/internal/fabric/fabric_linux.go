// Package fabric connects pods with each other, with the machine and with Services.
package fabric

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Fabric is the network between the pods, the machine and the Services.
//
// Its bridge lies in a network namespace that has no name and lives by this process's file descriptor: when the
// process ends, however it ends, the kernel deletes the namespace, and with it the bridge, every link of a pod and
// the link to the machine, its addresses and routes included.
type Fabric struct {
	space   netns.NsHandle
	inside  *netlink.Handle
	bridge  netlink.Link
	machine netlink.Link // the machine's end of the link to the bridge
	pods    netip.Prefix
	gateway netip.Addr

	mu   sync.Mutex
	used map[netip.Addr]bool
	last netip.Addr
}

// New makes a network with the ranges of addresses of pods and Services.
func New(pods, services netip.Prefix) (*Fabric, error) {
	space, err := newSpace()
	if err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	gateway := pods.Masked().Addr().Next()
	f := &Fabric{space: space, pods: pods.Masked(), gateway: gateway, used: map[netip.Addr]bool{}, last: gateway.Next()}
	if err := f.build(services.Masked()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fabric) build(services netip.Prefix) error {
	var err error
	if f.inside, err = netlink.NewHandleAt(f.space); err != nil {
		return err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods", HardwareAddr: hardware(f.gateway)}}
	if err := f.inside.LinkAdd(bridge); err != nil {
		return fmt.Errorf("making the bridge: %w", err)
	}
	f.bridge = bridge
	loopback, err := f.inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := errors.Join(
		f.inside.AddrAdd(bridge, address(f.gateway, f.pods.Bits())),
		f.inside.LinkSetUp(bridge),
		f.inside.LinkSetUp(loopback),
		// Every address of a Service is local here, so listening on it is all that a Service takes.
		f.inside.RouteAdd(&netlink.Route{
			LinkIndex: loopback.Attrs().Index, Dst: network(services), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL,
			Scope: netlink.SCOPE_HOST,
		}),
	); err != nil {
		return fmt.Errorf("setting up the bridge: %w", err)
	}
	return f.connectMachine(services)
}

// connectMachine lets the machine reach pods and Services, and lets them answer.
func (f *Fabric) connectMachine(services netip.Prefix) error {
	bytes := f.pods.Addr().As4()
	name := fmt.Sprintf("pods-%02x%02x%02x", bytes[1], bytes[2], bytes[3])
	machine := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "machine", PeerNamespace: netlink.NsFd(int(f.space)),
	}
	if err := addLink(machine); err != nil {
		return fmt.Errorf("making the link %s to the pods (another process node may have the range %s): %w", name, f.pods, err)
	}
	f.machine = machine
	peer, err := f.inside.LinkByName("machine")
	if err != nil {
		return err
	}
	if err := errors.Join(
		f.inside.LinkSetMaster(peer, f.bridge),
		f.inside.LinkSetUp(peer),
		netlink.AddrAdd(machine, address(f.gateway.Next(), f.pods.Bits())),
		netlink.LinkSetUp(machine),
	); err != nil {
		return fmt.Errorf("setting up the link %s: %w", name, err)
	}
	route := &netlink.Route{LinkIndex: machine.Attrs().Index, Dst: network(services), Gw: f.gateway.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("routing the Services' range %s (another process node may have it): %w", services, err)
	}
	return nil
}

// addLink tries for a while: the kernel takes a moment to delete the link of a process node that was killed.
func addLink(link netlink.Link) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := netlink.LinkAdd(link)
		if !errors.Is(err, unix.EEXIST) || time.Now().After(deadline) {
			return err
		}
	}
}

// Gateway is the address on which the fabric itself answers pods.
func (f *Fabric) Gateway() netip.Addr { return f.gateway }

// Attach connects the network namespace of a process, as eth0 with a new address.
func (f *Fabric) Attach(pid int) (netip.Addr, error) {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return netip.Addr{}, err
	}
	defer space.Close()
	pod, err := netlink.NewHandleAt(space)
	if err != nil {
		return netip.Addr{}, err
	}
	defer pod.Close()
	chosen, err := f.allocate()
	if err != nil {
		return netip.Addr{}, err
	}
	if err := f.attach(pod, space, chosen); err != nil {
		f.Release(chosen)
		return netip.Addr{}, fmt.Errorf("connecting the pod to the network: %w", err)
	}
	return chosen, nil
}

func (f *Fabric) attach(pod *netlink.Handle, space netns.NsHandle, chosen netip.Addr) error {
	link := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: linkName(chosen), MasterIndex: f.bridge.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(space)), PeerHardwareAddr: hardware(chosen),
	}
	if err := f.inside.LinkAdd(link); err != nil {
		return err
	}
	loopback, err := pod.LinkByName("lo")
	if err != nil {
		return err
	}
	ethernet, err := pod.LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(
		f.inside.LinkSetUp(link),
		pod.LinkSetUp(loopback),
		pod.AddrAdd(ethernet, address(chosen, f.pods.Bits())),
		pod.LinkSetUp(ethernet),
		pod.RouteAdd(&netlink.Route{LinkIndex: ethernet.Attrs().Index, Gw: f.gateway.AsSlice()}),
	)
}

// allocate chooses the next free address in turn, so that the one of a pod that has ended is not soon another's.
func (f *Fabric) allocate() (netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.gateway.Next().Next()
	candidate := f.last
	for range 1 << (32 - f.pods.Bits()) {
		candidate = candidate.Next()
		if !f.pods.Contains(candidate.Next()) { // the last address is for broadcasts
			candidate = first
		}
		if !f.used[candidate] {
			f.used[candidate], f.last = true, candidate
			return candidate, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all addresses of the pods' range %s are in use", f.pods)
}

// Release takes back the address of a pod that has ended, and its link where the kernel has not yet.
func (f *Fabric) Release(released netip.Addr) {
	if link, err := f.inside.LinkByName(linkName(released)); err == nil {
		_ = f.inside.LinkDel(link)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.used, released)
}

// Close takes the network away. The machine's link is deleted here, because the kernel is in no hurry with the rest.
func (f *Fabric) Close() error {
	var err error
	if f.machine != nil {
		err = netlink.LinkDel(f.machine)
	}
	if f.inside != nil {
		f.inside.Close()
	}
	return errors.Join(err, f.space.Close())
}

// Listen accepts connections to an address of the fabric, such as one of a Service.
func (f *Fabric) Listen(address netip.AddrPort) (net.Listener, error) {
	var listener net.Listener
	return listener, visit(f.space, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp4", address.String())
		return err
	})
}

// ListenPacket receives datagrams to an address of the fabric.
func (f *Fabric) ListenPacket(address netip.AddrPort) (net.PacketConn, error) {
	var socket net.PacketConn
	return socket, visit(f.space, func() (err error) {
		socket, err = net.ListenPacket("udp4", address.String())
		return err
	})
}

// visit runs a function on a thread that is in another network namespace.
func visit(space netns.NsHandle, do func() error) error {
	finished := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so no other work finds itself in the wrong namespace.
		runtime.LockOSThread()
		if err := netns.Set(space); err != nil {
			finished <- err
			return
		}
		finished <- do()
	}()
	return <-finished
}

func newSpace() (netns.NsHandle, error) {
	var space netns.NsHandle
	finished := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var err error
		space, err = netns.New()
		finished <- err
	}()
	return space, <-finished
}

func linkName(pod netip.Addr) string { return fmt.Sprintf("pod-%x", pod.As4()) }

// hardware is the hardware address of an address of the fabric. It is always the same, because others remember it: a
// bridge would take another with each link that comes or goes, and be out of reach until they ask anew.
func hardware(of netip.Addr) net.HardwareAddr {
	bytes := of.As4()
	return append(net.HardwareAddr{0x02, 0x00}, bytes[:]...)
}

func address(ip netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
}

func network(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
}
