package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dialLimit is how long an endpoint may take to accept a connection; all are on this machine.
const dialLimit = 5 * time.Second

// routes say for each address where its connections go.
type routes map[netip.AddrPort][]netip.AddrPort

// proxy passes TCP connections on to the endpoints of Services.
type proxy struct {
	listen func(netip.AddrPort) (net.Listener, error)
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup

	mutex sync.Mutex
	ports map[netip.AddrPort]*proxyPort
}

// proxyPort is an address that is listened on.
type proxyPort struct {
	owner    serviceKey
	listener net.Listener

	mutex     sync.Mutex
	endpoints []netip.AddrPort
	turn      int
}

func newProxy(listen func(netip.AddrPort) (net.Listener, error)) *proxy {
	life, end := context.WithCancel(context.Background())
	return &proxy{listen: listen, life: life, end: end, ports: map[netip.AddrPort]*proxyPort{}}
}

// set gives a Service exactly these routes.
func (p *proxy) set(owner serviceKey, wanted routes) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for address, port := range p.ports {
		// Without an endpoint nothing may listen: connections are then refused at once, as they are in a cluster.
		if port.owner == owner && len(wanted[address]) == 0 {
			_ = port.listener.Close()
			delete(p.ports, address)
		}
	}
	var problems []error
	for address, endpoints := range wanted {
		if err := p.offer(owner, address, endpoints); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (p *proxy) offer(owner serviceKey, address netip.AddrPort, endpoints []netip.AddrPort) error {
	known := p.ports[address]
	switch {
	case len(endpoints) == 0 || p.life.Err() != nil:
		return nil
	case known != nil && known.owner != owner:
		return fmt.Errorf("Service %s cannot have %s: Service %s has it", owner, address, known.owner)
	case known != nil:
		known.replace(endpoints)
		return nil
	}
	listener, err := p.listen(address)
	if err != nil {
		return fmt.Errorf("Service %s cannot be reached at %s: %w", owner, address, err)
	}
	port := &proxyPort{owner: owner, listener: listener, endpoints: endpoints}
	p.ports[address] = port
	p.work.Go(func() { p.serve(port) })
	return nil
}

func (p *proxy) serve(port *proxyPort) {
	for {
		client, err := port.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // a connection that was given up, or no file descriptor left for now
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p.work.Go(func() { p.connect(client.(*net.TCPConn), port.next()) })
	}
}

// connect passes a connection on until both sides have ended it. One that cannot be passed on is reset.
func (p *proxy) connect(client *net.TCPConn, address netip.AddrPort) {
	defer client.Close()
	dialer := net.Dialer{Timeout: dialLimit}
	connection, err := dialer.DialContext(p.life, "tcp4", address.String())
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	endpoint := connection.(*net.TCPConn)
	defer endpoint.Close()
	defer context.AfterFunc(p.life, func() { reset(client, endpoint) })()
	var back sync.WaitGroup
	back.Go(func() { pass(client, endpoint) })
	pass(endpoint, client)
	back.Wait()
}

// pass copies one direction; its end is passed on, and so is a break.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to, from)
		return
	}
	_ = to.CloseWrite()
}

func reset(connections ...*net.TCPConn) {
	for _, connection := range connections {
		_ = connection.SetLinger(0)
		_ = connection.Close()
	}
}

func (p *proxy) close() {
	p.end()
	p.mutex.Lock()
	for _, port := range p.ports {
		_ = port.listener.Close()
	}
	clear(p.ports)
	p.mutex.Unlock()
	p.work.Wait()
}

func (p *proxyPort) replace(endpoints []netip.AddrPort) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.endpoints = endpoints
}

// next is the endpoint whose turn it is.
func (p *proxyPort) next() netip.AddrPort {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.turn++
	return p.endpoints[p.turn%len(p.endpoints)]
}
