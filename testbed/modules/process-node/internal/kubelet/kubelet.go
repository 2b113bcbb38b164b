// Package kubelet runs the pods of the nodes that this process stands for, and tells the API server of them.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/sandbox"
)

// ErrNotFound says that a pod or container is not one of this process.
var ErrNotFound = errors.New("not found")

// Kubelet runs pods.
type Kubelet struct {
	client kubernetes.Interface
	config *config.Config
	host   sandbox.Host
	folder string
	events *events

	mutex   sync.Mutex
	runners map[types.UID]*runner
	closed  bool
}

// New makes a kubelet that keeps the folders of its pods in the folder given.
func New(client kubernetes.Interface, configuration *config.Config, host sandbox.Host, folder string) *Kubelet {
	return &Kubelet{
		client: client, config: configuration, host: host, folder: folder,
		events: newEvents(client), runners: map[types.UID]*runner{},
	}
}

// Start follows the pods that are bound to the nodes, until the context ends.
func (k *Kubelet) Start(ctx context.Context) {
	for _, node := range k.config.Nodes {
		selector := fields.OneTermEqualSelector("spec.nodeName", node.Name)
		_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: cache.NewListWatchFromClient(k.client.CoreV1().RESTClient(), "pods", v1.NamespaceAll, selector),
			ObjectType:    &v1.Pod{},
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    func(object any) { k.observe(ctx, object.(*v1.Pod)) },
				UpdateFunc: func(_, object any) { k.observe(ctx, object.(*v1.Pod)) },
				DeleteFunc: k.gone,
			},
		})
		go controller.RunWithContext(ctx)
	}
}

// observe takes notice of a pod that is new or has changed.
func (k *Kubelet) observe(ctx context.Context, pod *v1.Pod) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.closed {
		return
	}
	if known := k.runners[pod.UID]; known != nil {
		known.observe(pod)
		return
	}
	r := newRunner(k, pod)
	k.runners[pod.UID] = r
	switch {
	case isTerminal(pod) || pod.DeletionTimestamp != nil || pod.Status.StartTime != nil:
		go r.bury(ctx) // it ran, or ended, before this process began
	default:
		go r.run(ctx)
	}
}

// gone takes notice that a pod is deleted for good.
func (k *Kubelet) gone(object any) {
	if unknown, isUnknown := object.(cache.DeletedFinalStateUnknown); isUnknown {
		object = unknown.Obj
	}
	pod, isPod := object.(*v1.Pod)
	if !isPod {
		return
	}
	k.mutex.Lock()
	r := k.runners[pod.UID]
	delete(k.runners, pod.UID)
	k.mutex.Unlock()
	if r != nil {
		go func() {
			r.end(ending{})
			<-r.done
			_ = os.RemoveAll(r.folder) // what cannot be removed now is swept at the next start
		}()
	}
}

// Shutdown ends all pods: their phase is Failed, for a reason that tells them from those that failed by themselves.
func (k *Kubelet) Shutdown(ctx context.Context) error {
	k.mutex.Lock()
	k.closed = true
	runners := make([]*runner, 0, len(k.runners))
	for _, r := range k.runners {
		runners = append(runners, r)
	}
	k.mutex.Unlock()
	for _, r := range runners {
		r.end(ending{
			phase: v1.PodFailed, reason: "Terminated", message: "Pod was terminated in response to imminent node shutdown.",
			disrupted: true,
		})
	}
	for _, r := range runners {
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("pod %s/%s did not end in time: %w", r.Pod().Namespace, r.Pod().Name, ctx.Err())
		}
	}
	k.events.flush()
	return nil
}

// Pods lists the pods that this process knows.
func (k *Kubelet) Pods() []v1.Pod {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	pods := make([]v1.Pod, 0, len(k.runners))
	for _, r := range k.runners {
		pods = append(pods, *r.Pod())
	}
	return pods
}

func (k *Kubelet) find(namespace, name string) (*runner, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	var found *runner
	for _, r := range k.runners {
		pod := r.Pod()
		if pod.Namespace == namespace && pod.Name == name && (found == nil || pod.DeletionTimestamp == nil) {
			found = r
		}
	}
	if found == nil {
		return nil, fmt.Errorf("pod %s/%s %w on this node", namespace, name, ErrNotFound)
	}
	return found, nil
}

// offered is what the node of a pod has.
func (k *Kubelet) offered(pod *v1.Pod) v1.ResourceList {
	index := slices.IndexFunc(k.config.Nodes, func(node config.Node) bool { return node.Name == pod.Spec.NodeName })
	if index < 0 {
		return nil
	}
	return k.config.Nodes[index].Capacity
}

// remove deletes a pod's object, now that nothing of it runs.
func (k *Kubelet) remove(ctx context.Context, pod *v1.Pod) {
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	retry(ctx, func() error {
		return k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options)
	})
}

func (k *Kubelet) podFolder(pod *v1.Pod) string { return filepath.Join(k.folder, string(pod.UID)) }

func isTerminal(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}

// sleep waits, and tells whether the context still holds.
func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
