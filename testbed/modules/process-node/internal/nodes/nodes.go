// Package nodes keeps the Node objects that this process stands for, and says that they are alive.
package nodes

import (
	"context"
	"fmt"
	"log"
	"maps"
	"runtime"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"stepworks.dev/testbed/process-node/internal/config"
)

const (
	address        = "127.0.0.1"
	leaseSeconds   = int32(40)
	renewal        = 10 * time.Second
	firstChecks    = 100 * time.Millisecond // until the nodes are ready
	kubeletVersion = "v1.36.3-process-node"
)

// Nodes are the nodes of this process.
type Nodes struct {
	client kubernetes.Interface
	nodes  []config.Node
	port   int32
}

// New stands for the nodes given, whose kubelet API listens on a port of loopback.
func New(client kubernetes.Interface, nodes []config.Node, port int32) *Nodes {
	return &Nodes{client, nodes, port}
}

// Register makes the nodes, and returns when pods can be scheduled on them.
func (n *Nodes) Register(ctx context.Context) error {
	for {
		ready := true
		for index := range n.nodes {
			ok, err := n.keep(ctx, &n.nodes[index])
			if err != nil {
				return err
			}
			ready = ready && ok
		}
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(firstChecks):
		}
	}
}

// Keep renews the nodes until the context ends. An API server that does not answer is tried again.
func (n *Nodes) Keep(ctx context.Context) {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for index := range n.nodes {
			if _, err := n.keep(ctx, &n.nodes[index]); err != nil && ctx.Err() == nil {
				log.Printf("node %s cannot be renewed, which is tried again in %s: %v", n.nodes[index].Name, renewal, err)
			}
		}
	}
}

// Remove deletes the nodes and their leases.
func (n *Nodes) Remove(ctx context.Context) error {
	for _, node := range n.nodes {
		err := n.client.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{})
		if err == nil || apierrors.IsNotFound(err) {
			err = n.client.CoordinationV1().Leases(v1.NamespaceNodeLease).Delete(ctx, node.Name, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("cannot remove node %s: %w", node.Name, err)
		}
	}
	return nil
}

// keep makes or repairs a node and renews its lease; it tells whether pods can be scheduled on it.
func (n *Nodes) keep(ctx context.Context, node *config.Node) (bool, error) {
	api := n.client.CoreV1().Nodes()
	found, err := api.Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		found, err = api.Create(ctx, n.object(node), metav1.CreateOptions{})
	}
	if err != nil {
		return false, err
	}
	if err := n.renew(ctx, found); err != nil {
		return false, err
	}
	if !n.isCurrent(found, node) {
		wanted := n.object(node)
		found.Labels, found.Annotations = wanted.Labels, wanted.Annotations
		found.Spec.Taints = append(wanted.Spec.Taints, automatic(found.Spec.Taints)...)
		if found, err = api.Update(ctx, found, metav1.UpdateOptions{}); err != nil {
			return false, ignoreConflict(err)
		}
		found.Status = n.status(node)
		if found, err = api.UpdateStatus(ctx, found, metav1.UpdateOptions{}); err != nil {
			return false, ignoreConflict(err)
		}
	}
	return len(automatic(found.Spec.Taints)) == 0, nil
}

// ignoreConflict takes it for no error that somebody else changed the node meanwhile: the next attempt sees it.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// isCurrent tells whether a node is as this process left it, and not as another one did that had its name before, or
// as the control plane does with a node that it has not heard of for a while.
func (n *Nodes) isCurrent(found *v1.Node, node *config.Node) bool {
	isReady := slices.ContainsFunc(found.Status.Conditions, func(condition v1.NodeCondition) bool {
		return condition.Type == v1.NodeReady && condition.Status == v1.ConditionTrue
	})
	return isReady && found.Status.DaemonEndpoints.KubeletEndpoint.Port == n.port &&
		len(found.Spec.Taints)-len(automatic(found.Spec.Taints)) == len(node.Taints)
}

// automatic are the taints by which the control plane says that a node cannot be used now.
func automatic(taints []v1.Taint) []v1.Taint {
	return slices.DeleteFunc(slices.Clone(taints), func(taint v1.Taint) bool {
		return taint.Key != v1.TaintNodeNotReady && taint.Key != v1.TaintNodeUnreachable
	})
}

func (n *Nodes) object(node *config.Node) *v1.Node {
	labels := map[string]string{
		v1.LabelHostname: node.Name, v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH,
	}
	maps.Copy(labels, node.Labels)
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: labels},
		Spec:       v1.NodeSpec{Taints: slices.Clone(node.Taints)},
		Status:     n.status(node),
	}
}

func (n *Nodes) status(node *config.Node) v1.NodeStatus {
	now := metav1.Now()
	condition := func(kind v1.NodeConditionType, status v1.ConditionStatus, reason string) v1.NodeCondition {
		return v1.NodeCondition{
			Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now,
		}
	}
	return v1.NodeStatus{
		Capacity: node.Capacity, Allocatable: node.Capacity,
		Conditions: []v1.NodeCondition{
			condition(v1.NodeMemoryPressure, v1.ConditionFalse, "KubeletHasSufficientMemory"),
			condition(v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure"),
			condition(v1.NodePIDPressure, v1.ConditionFalse, "KubeletHasSufficientPID"),
			condition(v1.NodeReady, v1.ConditionTrue, "KubeletReady"),
		},
		Addresses: []v1.NodeAddress{
			{Type: v1.NodeInternalIP, Address: address}, {Type: v1.NodeHostName, Address: node.Name},
		},
		DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: n.port}},
		NodeInfo: v1.NodeSystemInfo{
			OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, KubeletVersion: kubeletVersion,
			ContainerRuntimeVersion: "process://1",
		},
	}
}

func (n *Nodes) renew(ctx context.Context, node *v1.Node) error {
	leases := n.client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now, seconds := metav1.NowMicro(), leaseSeconds
	spec := coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	found, err := leases.Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: node.Name, OwnerReferences: []metav1.OwnerReference{owner}}, Spec: spec,
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	found.Spec = spec
	_, err = leases.Update(ctx, found, metav1.UpdateOptions{})
	return ignoreConflict(err)
}
