package sandbox

import (
	"net/netip"
	"strings"
	"testing"
)

const (
	serveScript = `exec perl -MSocket -e '
		socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(8080, INADDR_ANY)) or die $!; listen(S, 5);
		$| = 1; print "listening\n"; while (accept(C, S)) { print C "hello\n"; close C }'`
	askScript = `perl -MSocket -e '
		socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(80, inet_aton("web"))) or die "$!\n"; print <S>'`
)

func TestPodReachesAServiceByItsName(t *testing.T) {
	host := newTestHost(t)
	network, err := NewServiceNetwork(host.fabric, "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	server, client := newTestSandbox(t, host, "server"), newTestSandbox(t, host, "client")
	output := &safeBuffer{}
	if _, err := server.Start(shell(serveScript, output)); err != nil {
		t.Fatal(err)
	}
	output.await("listening")

	pod := netip.MustParseAddr(server.Address())
	service := Service{
		Namespace: "team", Name: "web", Addresses: []netip.Addr{testServices.Addr().Next().Next()},
		Ports: []ServicePort{{Port: 80, Endpoints: []netip.AddrPort{netip.AddrPortFrom(pod, 8080)}}},
	}
	mustSet(t, network, service)
	mustSet(t, network, Service{Namespace: "team", Name: "group", Endpoints: []Endpoint{{"server", pod}}})
	if exit, output := runShell(t, client, askScript); exit.Code != 0 || output != "hello\n" {
		t.Errorf("the Service answered %q, code %d", output, exit.Code)
	}
	for name, expected := range map[string]string{
		"web": service.Addresses[0].String(), "web.team.svc.cluster.local": service.Addresses[0].String(),
		"server.group": server.Address(), "group.team": server.Address(),
	} {
		if _, output := runShell(t, client, "getent ahostsv4 "+name); !strings.HasPrefix(output, expected+" ") {
			t.Errorf("%s is %q, expected %s", name, output, expected)
		}
	}
	if exit, output := runShell(t, client, "getent ahostsv4 example.com"); exit.Code != 2 || output != "" {
		t.Errorf("a name outside the cluster is %q, code %d", output, exit.Code)
	}
	service.Ports[0].Endpoints = nil
	mustSet(t, network, service)
	if _, output := runShell(t, client, askScript); output != "Connection refused\n" {
		t.Errorf("without an endpoint the Service answered %q", output)
	}
}
