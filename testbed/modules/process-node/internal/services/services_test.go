package services

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"stepworks.dev/testbed/process-node/sandbox"
)

// change is what the sink was told.
type change struct {
	set     sandbox.Service
	removed string
}

// recorder is a sink that hands on what it is told, after it has refused as often as it should.
type recorder struct {
	changes  chan change
	refusals chan error
}

func newRecorder() *recorder {
	return &recorder{changes: make(chan change, 100), refusals: make(chan error, 100)}
}

func (r *recorder) SetService(service sandbox.Service) error {
	select {
	case refusal := <-r.refusals:
		return refusal
	default:
		r.changes <- change{set: service}
		return nil
	}
}

func (r *recorder) RemoveService(namespace, name string) {
	r.changes <- change{removed: namespace + "/" + name}
}

// await returns once the sink is told what is expected; what it is told before may be on the way there.
func (r *recorder) await(t *testing.T, expected change) {
	t.Helper()
	limit := time.After(20 * time.Second) // it decides nothing where all is well
	for {
		select {
		case told := <-r.changes:
			if reflect.DeepEqual(told, expected) {
				return
			}
		case <-limit:
			t.Fatalf("the sink was not told %+v", expected)
		}
	}
}

func TestFollowTellsWhatThereIsAndWhatChanges(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	service, part := newService(), newSlice("web-1", "web")
	client := fake.NewClientset(service)
	watching := noteWatches(client)
	sink := newRecorder()
	if err := Follow(ctx, client, cluster, sink); err != nil {
		t.Fatal(err)
	}
	if len(sink.changes) == 0 {
		t.Fatal("the Service that there was is not known on return")
	}
	without := expectedService()
	without.Ports[0].Endpoints, without.Ports[1].Endpoints, without.Endpoints = nil, nil, nil
	sink.await(t, change{set: without})
	for range 2 {
		<-watching
	}

	for range 3 { // more often than changes tell of the Service
		sink.refusals <- errors.New("the port is taken for now")
	}
	slices := client.DiscoveryV1().EndpointSlices("team")
	if _, err := slices.Create(ctx, part, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sink.await(t, change{set: expectedService()})

	if err := slices.Delete(ctx, part.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sink.await(t, change{set: without})
	if err := client.CoreV1().Services("team").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sink.await(t, change{removed: "team/web"})
}

// noteWatches tells of each watch that has begun: unlike an API server, the clientset forgets changes before that.
func noteWatches(client *fake.Clientset) <-chan struct{} {
	begun := make(chan struct{}, 2)
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		started, err := client.Tracker().Watch(action.GetResource(), action.GetNamespace())
		if err == nil {
			begun <- struct{}{}
		}
		return true, started, err
	})
	return begun
}

func TestFollowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Follow(ctx, fake.NewClientset(), cluster, newRecorder()); !errors.Is(err, context.Canceled) {
		t.Fatalf("Follow returned %v", err)
	}
}

var cluster = Cluster{
	Pods: netip.MustParsePrefix("10.244.0.0/24"), APIServer: netip.MustParseAddrPort("127.0.0.1:6443"),
}

func newService() *v1.Service {
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"},
		Spec: v1.ServiceSpec{
			ClusterIPs: []string{"10.96.0.7", "fd00::7"},
			Ports: []v1.ServicePort{
				{Name: "http", Port: 80, NodePort: 30080, Protocol: v1.ProtocolTCP},
				{Name: "grpc", Port: 90},
				{Name: "names", Port: 53, Protocol: v1.ProtocolUDP},
			},
		},
	}
}

// newSlice has a pod that is ready, one that is not, one that is silent on that and has a name, and a simulated one.
func newSlice(name, service string) *discoveryv1.EndpointSlice {
	yes, no, hostname := true, false, "worker-0"
	http, grpc, tcp := "http", "grpc", v1.ProtocolTCP
	httpPort, grpcPort := int32(8080), int32(9090)
	pod := &v1.ObjectReference{Kind: "Pod"}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: &http, Port: &httpPort, Protocol: &tcp}, {Name: &grpc, Port: &grpcPort, Protocol: &tcp},
		},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.244.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}, TargetRef: pod},
			{Addresses: []string{"10.244.0.8"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}, TargetRef: pod},
			{Addresses: []string{"10.244.0.7"}, Hostname: &hostname, TargetRef: pod},
			{Addresses: []string{"10.1.0.5"}, TargetRef: pod},
			{Addresses: []string{"192.0.2.1"}},
		},
	}
}

func expectedService() sandbox.Service {
	at := func(port uint16) []netip.AddrPort {
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.MustParseAddr("10.244.0.7"), port),
			netip.AddrPortFrom(netip.MustParseAddr("10.244.0.9"), port),
			netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
		}
	}
	return sandbox.Service{
		Namespace: "team", Name: "web", Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.7")},
		Ports: []sandbox.ServicePort{{Port: 80, NodePort: 30080, Endpoints: at(8080)}, {Port: 90, Endpoints: at(9090)}},
		Endpoints: []sandbox.Endpoint{
			{Address: netip.MustParseAddr("10.244.0.9")},
			{Address: netip.MustParseAddr("10.244.0.7"), Hostname: "worker-0"},
			{Address: netip.MustParseAddr("10.1.0.5")},
			{Address: netip.MustParseAddr("192.0.2.1")},
		},
	}
}

func TestTranslate(t *testing.T) {
	six := newSlice("web-2", "web")
	six.AddressType = discoveryv1.AddressTypeIPv6
	headless := newService()
	headless.Spec.ClusterIPs = []string{v1.ClusterIPNone}
	withoutAddress := expectedService()
	withoutAddress.Addresses = nil
	for name, c := range map[string]struct {
		service  *v1.Service
		parts    []*discoveryv1.EndpointSlice
		expected sandbox.Service
	}{
		"cluster IP": {newService(), []*discoveryv1.EndpointSlice{newSlice("web-1", "web"), six}, expectedService()},
		"headless":   {headless, []*discoveryv1.EndpointSlice{newSlice("web-1", "web")}, withoutAddress},
		"external name": {
			&v1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "db"},
				Spec:       v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "db.example.com"},
			}, nil,
			sandbox.Service{Namespace: "team", Name: "db", ExternalName: "db.example.com"},
		},
		"API server": {
			&v1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"},
				Spec:       v1.ServiceSpec{ClusterIPs: []string{"10.96.0.1"}, Ports: []v1.ServicePort{{Name: "https", Port: 443}}},
			}, nil,
			sandbox.Service{
				Namespace: "default", Name: "kubernetes", Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
				Ports: []sandbox.ServicePort{{Port: 443, Endpoints: []netip.AddrPort{cluster.APIServer}}},
			},
		},
	} {
		if translated := cluster.translate(c.service, c.parts); !reflect.DeepEqual(translated, c.expected) {
			t.Errorf("%s: %+v, expected %+v", name, translated, c.expected)
		}
	}
}
