package nodes

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"stepworks.dev/testbed/process-node/internal/config"
)

const port = int32(10250)

func gpuNode() config.Node {
	return config.Node{
		Name:     "gpu",
		Labels:   map[string]string{"gpu-type": "a100"},
		Taints:   []v1.Taint{{Key: "nvidia.com/gpu", Effect: v1.TaintEffectNoSchedule}},
		Capacity: v1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")},
	}
}

func read(t *testing.T, client kubernetes.Interface) *v1.Node {
	t.Helper()
	found, err := client.CoreV1().Nodes().Get(t.Context(), "gpu", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func write(t *testing.T, client kubernetes.Interface, node *v1.Node) {
	t.Helper()
	if _, err := client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestANodeIsRegisteredWithWhatItWasToldToOffer(t *testing.T) {
	client := fake.NewClientset()
	if err := New(client, []config.Node{gpuNode()}, port).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := read(t, client)
	if node.Labels["gpu-type"] != "a100" || node.Labels[v1.LabelHostname] != "gpu" {
		t.Errorf("labels: %v", node.Labels)
	}
	if gpus := node.Status.Allocatable["nvidia.com/gpu"]; gpus.Value() != 2 || len(node.Spec.Taints) != 1 {
		t.Errorf("%s GPUs, taints %v", gpus.String(), node.Spec.Taints)
	}
	if node.Status.DaemonEndpoints.KubeletEndpoint.Port != port {
		t.Errorf("the kubelet's port: %d", node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	}
	lease, err := client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(t.Context(), "gpu", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "gpu" || time.Since(lease.Spec.RenewTime.Time) > time.Minute {
		t.Errorf("the lease: %+v, %v", lease, err)
	}
}

func TestRegisteringWaitsWhileTheControlPlaneTaintsTheNode(t *testing.T) {
	client := fake.NewClientset()
	nodes := New(client, []config.Node{gpuNode()}, port)
	if err := nodes.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := read(t, client)
	node.Spec.Taints = append(node.Spec.Taints, v1.Taint{Key: v1.TaintNodeNotReady, Effect: v1.TaintEffectNoSchedule})
	write(t, client, node)

	ctx, cancel := context.WithTimeout(t.Context(), 5*firstChecks)
	defer cancel()
	if err := nodes.Register(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait: %v", err)
	}
	if taints := read(t, client).Spec.Taints; len(taints) != 2 {
		t.Errorf("it took away what is the control plane's: %v", taints)
	}
}

func TestANodeThatAnotherProcessLeftIsRepaired(t *testing.T) {
	client := fake.NewClientset()
	if err := New(client, []config.Node{gpuNode()}, 1).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := read(t, client)
	node.Labels["gpu-type"] = "v100"
	write(t, client, node)
	if err := New(client, []config.Node{gpuNode()}, port).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	node = read(t, client)
	if node.Status.DaemonEndpoints.KubeletEndpoint.Port != port || node.Labels["gpu-type"] != "a100" {
		t.Errorf("port %d, labels %v", node.Status.DaemonEndpoints.KubeletEndpoint.Port, node.Labels)
	}
}

func TestANodeIsRemovedWithItsLease(t *testing.T) {
	client := fake.NewClientset()
	nodes := New(client, []config.Node{gpuNode()}, port)
	if err := nodes.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to remove
		if err := nodes.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := client.CoreV1().Nodes().Get(t.Context(), "gpu", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the node: %v", err)
	}
	_, err = client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(t.Context(), "gpu", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the lease: %v", err)
	}
}
