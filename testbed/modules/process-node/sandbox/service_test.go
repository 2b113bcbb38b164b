package sandbox

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is how long a test waits for what must come; it decides nothing where all is well.
const limit = 20 * time.Second

// loopbackFabric stands for each address of a network by a free port of the machine's loopback address.
type loopbackFabric struct {
	mutex   sync.Mutex
	sockets map[string]string
}

func newLoopbackFabric() *loopbackFabric { return &loopbackFabric{sockets: map[string]string{}} }

func (f *loopbackFabric) Gateway() netip.Addr { return netip.MustParseAddr("10.0.0.1") }

func (f *loopbackFabric) Listen(address netip.AddrPort) (net.Listener, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err == nil {
		f.remember("tcp", address, listener.Addr())
	}
	return listener, err
}

func (f *loopbackFabric) ListenPacket(address netip.AddrPort) (net.PacketConn, error) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err == nil {
		f.remember("udp", address, socket.LocalAddr())
	}
	return socket, err
}

func (f *loopbackFabric) remember(network string, address netip.AddrPort, socket net.Addr) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.sockets[network+" "+address.String()] = socket.String()
}

// at is where an address of the network is on this machine.
func (f *loopbackFabric) at(network, address string) string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.sockets[network+" "+address]
}

func newTestNetwork(t *testing.T) (*ServiceNetwork, *loopbackFabric) {
	t.Helper()
	fabric := newLoopbackFabric()
	network, err := NewServiceNetwork(fabric, "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	return network, fabric
}

// startEndpoint starts a server that says its name, and then what it hears until the client says no more.
func startEndpoint(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_, _ = io.WriteString(connection, name)
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func connect(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	connection, err := net.DialTimeout("tcp4", address, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	_ = connection.SetDeadline(time.Now().Add(limit))
	return connection.(*net.TCPConn)
}

// converse says something, no more after it, and returns all of the answer.
func converse(t *testing.T, address, text string) string {
	t.Helper()
	connection := connect(t, address)
	if _, err := io.WriteString(connection, text); err != nil {
		t.Fatal(err)
	}
	if err := connection.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func clusterService(port uint16, endpoints ...netip.AddrPort) Service {
	return Service{
		Namespace: "team", Name: "web", Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.7")},
		Ports: []ServicePort{{Port: port, Endpoints: endpoints}},
	}
}

func mustSet(t *testing.T, network *ServiceNetwork, service Service) {
	t.Helper()
	if err := network.SetService(service); err != nil {
		t.Fatal(err)
	}
}

func expectRefused(t *testing.T, address string) {
	t.Helper()
	connection, err := net.DialTimeout("tcp4", address, limit)
	if err == nil {
		connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("connecting to %s: %v, expected a refusal", address, err)
	}
}

func TestEndpointsTakeTurns(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, clusterService(80, startEndpoint(t, "a"), startEndpoint(t, "b")))
	heard := map[string]int{}
	for range 6 {
		heard[converse(t, fabric.at("tcp", "10.96.0.7:80"), "?")]++
	}
	if heard["a?"] != 3 || heard["b?"] != 3 {
		t.Fatalf("six connections went to %v, expected three to each", heard)
	}
}

func TestConnectionsFollowTheEndpoints(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, clusterService(80, startEndpoint(t, "old")))
	address := fabric.at("tcp", "10.96.0.7:80")
	open := connect(t, address)
	if _, err := io.ReadFull(open, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	mustSet(t, network, clusterService(80, startEndpoint(t, "new")))
	if heard := converse(t, address, ""); heard != "new" {
		t.Fatalf("a new connection went to %q", heard)
	}
	mustSet(t, network, clusterService(80))
	expectRefused(t, address)
	if _, err := io.WriteString(open, "still"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, make([]byte, 5)); err != nil {
		t.Fatalf("an open connection was cut when its endpoint left: %v", err)
	}
	network.RemoveService("team", "web")
	network.RemoveService("team", "web")
}

func TestMuchDataPassesUnchanged(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, clusterService(80, startEndpoint(t, "")))
	text := make([]byte, 8<<20)
	for index := range text {
		text[index] = byte(index >> 7)
	}
	connection := connect(t, fabric.at("tcp", "10.96.0.7:80"))
	go func() {
		_, _ = connection.Write(text)
		_ = connection.CloseWrite()
	}()
	heard, err := io.ReadAll(connection)
	if err != nil || string(heard) != string(text) {
		t.Fatalf("%d of %d bytes came back, or not the same: %v", len(heard), len(text), err)
	}
}

func TestAnEndpointThatIsGoneResetsTheConnection(t *testing.T) {
	network, fabric := newTestNetwork(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().(*net.TCPAddr).AddrPort()
	listener.Close()
	mustSet(t, network, clusterService(80, gone))
	connection, err := net.DialTimeout("tcp4", fabric.at("tcp", "10.96.0.7:80"), limit)
	if err == nil { // else the reset was there before the dialer had a look
		defer connection.Close()
		_ = connection.SetDeadline(time.Now().Add(limit))
		_, err = connection.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection ended with %v, expected a reset", err)
	}
}

func TestAServiceDoesNotTakeAnothersAddress(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, clusterService(80, startEndpoint(t, "first")))
	second := clusterService(80, startEndpoint(t, "second"))
	second.Name = "other"
	if err := network.SetService(second); err == nil {
		t.Fatal("two Services have one address")
	}
	network.RemoveService("team", "web")
	mustSet(t, network, second)
	if heard := converse(t, fabric.at("tcp", "10.96.0.7:80"), ""); heard != "second" {
		t.Fatalf("the address leads to %q", heard)
	}
}

func TestNodePortLeadsToTheEndpoints(t *testing.T) {
	network, fabric := newTestNetwork(t)
	service := clusterService(80, startEndpoint(t, "here"))
	free := startEndpoint(t, "taken").Port()
	service.Ports[0].NodePort = free
	if err := network.SetService(service); err == nil {
		t.Fatal("a node port that another process has was not reported")
	}
	if heard := converse(t, fabric.at("tcp", "10.96.0.7:80"), ""); heard != "here" {
		t.Fatalf("the cluster IP suffered from the node port: %q", heard)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	listener.Close()
	service.Ports[0].NodePort = address.Port()
	mustSet(t, network, service)
	if heard := converse(t, address.String(), ""); heard != "here" {
		t.Fatalf("the node port leads to %q", heard)
	}
	network.RemoveService("team", "web")
	expectRefused(t, address.String())
}

func TestCloseEndsOpenConnections(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, clusterService(80, startEndpoint(t, "a")))
	open := connect(t, fabric.at("tcp", "10.96.0.7:80"))
	if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	asking := connect(t, fabric.at("tcp", "10.0.0.1:53"))
	network.Close()
	for _, connection := range []net.Conn{open, asking} {
		if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
			t.Fatalf("reading gave %v, expected the connection to have ended", err)
		}
	}
}
