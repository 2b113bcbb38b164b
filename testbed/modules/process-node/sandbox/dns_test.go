package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// resolverOf asks a network's DNS server, as a pod does.
func resolverOf(fabric *loopbackFabric) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, fabric.at(network[:3], "10.0.0.1:53"))
	}}
}

func endpoints(count int) []Endpoint {
	var made []Endpoint
	for index := range count {
		address := netip.AddrFrom4([4]byte{10, 244, byte(index >> 8), byte(index)})
		made = append(made, Endpoint{Hostname: fmt.Sprintf("worker-%d", index), Address: address})
	}
	return made
}

func newNamedNetwork(t *testing.T) (*ServiceNetwork, *net.Resolver) {
	t.Helper()
	network, fabric := newTestNetwork(t)
	workers := endpoints(2)
	workers[1].Hostname = ""
	for _, service := range []Service{
		{Namespace: "team", Name: "web", Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.7")}, Endpoints: workers},
		{Namespace: "team", Name: "workers", Endpoints: workers},
		{Namespace: "team", Name: "empty"},
		{Namespace: "team", Name: "alias", ExternalName: "web.team.svc.cluster.local"},
		{Namespace: "team", Name: "outside", ExternalName: "example.com"},
		{Namespace: "team", Name: "circle", ExternalName: "circle.team.svc.cluster.local"},
	} {
		mustSet(t, network, service)
	}
	return network, resolverOf(fabric)
}

func TestNamesOfServicesAndPods(t *testing.T) {
	_, resolver := newNamedNetwork(t)
	for name, expected := range map[string][]string{
		"web.team.svc.cluster.local.":                {"10.96.0.7"},
		"WEB.Team.svc.Cluster.local.":                {"10.96.0.7"},
		"workers.team.svc.cluster.local.":            {"10.244.0.0", "10.244.0.1"},
		"worker-0.workers.team.svc.cluster.local.":   {"10.244.0.0"},
		"10-244-0-1.workers.team.svc.cluster.local.": {"10.244.0.1"},
		"worker-0.web.team.svc.cluster.local.":       {"10.244.0.0"},
		"alias.team.svc.cluster.local.":              {"10.96.0.7"},
	} {
		found, err := resolver.LookupHost(t.Context(), name)
		slices.Sort(found)
		if err != nil || !slices.Equal(found, expected) {
			t.Errorf("%s is %v (%v), expected %v", name, found, err, expected)
		}
	}
}

func TestNamesThatAreNotThere(t *testing.T) {
	network, resolver := newNamedNetwork(t)
	network.RemoveService("team", "web")
	for _, name := range []string{
		"web.team.svc.cluster.local.", "alias.team.svc.cluster.local.", "web.other.svc.cluster.local.",
		"empty.team.svc.cluster.local.", "worker-9.workers.team.svc.cluster.local.",
		"worker-0.worker-0.workers.team.svc.cluster.local.",
		"team.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "workers.team.svc.", "workers.", "example.com.",
		"outside.team.svc.cluster.local.", "1.0.244.10.in-addr.arpa.",
	} {
		found, err := resolver.LookupHost(t.Context(), name)
		var problem *net.DNSError
		if !errors.As(err, &problem) || !problem.IsNotFound {
			t.Errorf("%s is %v (%v), expected that there is no such name", name, found, err)
		}
		if reply := ask(t, network, question(name)); reply.RCode != dnsmessage.RCodeNameError {
			t.Errorf("%s is answered with %s, after which some resolvers ask on", name, reply.RCode)
		}
	}
}

func TestAnswersThatDoNotFitADatagramComeOverTCP(t *testing.T) {
	network, fabric := newTestNetwork(t)
	mustSet(t, network, Service{Namespace: "team", Name: "many", Endpoints: endpoints(300)})
	found, err := resolverOf(fabric).LookupHost(t.Context(), "many.team.svc.cluster.local.")
	if err != nil || len(found) != 300 {
		t.Fatalf("%d of 300 addresses: %v", len(found), err)
	}
	packed := pack(t, dnsmessage.Message{Questions: []dnsmessage.Question{question("many.team.svc.cluster.local.")}})
	if reply := network.names.answer(packed, false); len(reply) > plainLimit {
		t.Fatalf("a client that says nothing of its size got %d bytes", len(reply))
	}
}

func question(name string) dnsmessage.Question {
	return dnsmessage.Question{
		Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}
}

func ask(t *testing.T, network *ServiceNetwork, asked dnsmessage.Question) dnsmessage.Message {
	t.Helper()
	var reply dnsmessage.Message
	packed := pack(t, dnsmessage.Message{Questions: []dnsmessage.Question{asked}})
	if err := reply.Unpack(network.names.answer(packed, false)); err != nil {
		t.Fatal(err)
	}
	return reply
}

func pack(t testing.TB, message dnsmessage.Message) []byte {
	t.Helper()
	packed, err := message.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestQuestionsOfOtherTypesHaveNoAnswerButNoErrorEither(t *testing.T) {
	network, _ := newNamedNetwork(t)
	asked := question("web.team.svc.cluster.local.")
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeTXT, dnsmessage.TypeMX} {
		asked.Type = kind
		reply := ask(t, network, asked)
		if reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) != 0 || len(reply.Questions) != 1 {
			t.Errorf("type %s: %s", kind, reply.GoString())
		}
	}
}

func TestQueriesThatAreWrong(t *testing.T) {
	network, _ := newNamedNetwork(t)
	good := question("web.team.svc.cluster.local.")
	for name, expected := range map[string]struct {
		message dnsmessage.Message
		code    dnsmessage.RCode
	}{
		"no question":   {dnsmessage.Message{}, dnsmessage.RCodeFormatError},
		"two questions": {dnsmessage.Message{Questions: []dnsmessage.Question{good, good}}, dnsmessage.RCodeFormatError},
		"an update":     {dnsmessage.Message{Header: dnsmessage.Header{OpCode: 5}}, dnsmessage.RCodeNotImplemented},
	} {
		var reply dnsmessage.Message
		if err := reply.Unpack(network.names.answer(pack(t, expected.message), false)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if reply.RCode != expected.code || !reply.Response {
			t.Errorf("%s: answered %s, expected %s", name, reply.RCode, expected.code)
		}
	}
	response := pack(t, dnsmessage.Message{Header: dnsmessage.Header{Response: true}})
	if reply := network.names.answer(response, false); reply != nil {
		t.Error("a response was answered: two servers would talk for ever")
	}
}

func FuzzAnswer(f *testing.F) {
	known := newNames("cluster.local")
	known.set(serviceKey{"team", "workers"}, Service{Namespace: "team", Name: "workers", Endpoints: endpoints(3)})
	f.Add(pack(f, dnsmessage.Message{Questions: []dnsmessage.Question{question("workers.team.svc.cluster.local.")}}))
	f.Add([]byte{})
	f.Add(make([]byte, 12))
	f.Fuzz(func(t *testing.T, query []byte) {
		reply := known.answer(query, false)
		var message dnsmessage.Message
		if reply != nil && message.Unpack(reply) != nil {
			t.Fatalf("the answer to %x cannot be read: %x", query, reply)
		}
	})
}
