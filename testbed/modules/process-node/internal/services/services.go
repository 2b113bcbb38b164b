// Package services shows the Services of a cluster to whoever makes them reachable.
package services

import (
	"context"
	"errors"
	"log"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"stepworks.dev/testbed/process-node/sandbox"
)

// Cluster is what cannot be read from Services.
type Cluster struct {
	// Pods is the range of the pods that run here.
	Pods netip.Prefix
	// APIServer is where the API server listens, which the Service `kubernetes` leads to.
	APIServer netip.AddrPort
}

const byService = "service"

type follower struct {
	cluster  Cluster
	sink     sandbox.ServiceSink
	services cache.Store
	slices   cache.Indexer
	queue    workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

// Follow shows the sink all Services, and from then on every change, until the context ends. It returns once the
// sink knows those that there are.
func Follow(ctx context.Context, client kubernetes.Interface, cluster Cluster, sink sandbox.ServiceSink) error {
	f := &follower{cluster: cluster, sink: sink, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, time.Minute))}
	context.AfterFunc(ctx, f.queue.ShutDown)
	services := f.watchServices(client)
	slices := f.watchSlices(client)
	go services.RunWithContext(ctx)
	go slices.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), services.HasSynced, slices.HasSynced) {
		return errors.Join(errors.New("the Services of the cluster could not be listed"), ctx.Err())
	}
	for _, object := range f.services.List() {
		service := object.(*v1.Service)
		f.show(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
	}
	go f.work()
	return nil
}

func (f *follower) watchServices(client kubernetes.Interface) cache.Controller {
	all := client.CoreV1().Services(v1.NamespaceAll)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return all.List(ctx, options)
		},
		WatchFuncWithContext: all.Watch,
	}
	var controller cache.Controller
	f.services, controller = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(source, client),
		ObjectType:    &v1.Service{},
		Handler:       f.handler(func(object metav1.Object) string { return object.GetName() }),
	})
	return controller
}

func (f *follower) watchSlices(client kubernetes.Interface) cache.Controller {
	all := client.DiscoveryV1().EndpointSlices(v1.NamespaceAll)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return all.List(ctx, options)
		},
		WatchFuncWithContext: all.Watch,
	}
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(source, client),
		ObjectType:    &discoveryv1.EndpointSlice{},
		Handler:       f.handler(serviceOf),
		Indexers: cache.Indexers{byService: func(object any) ([]string, error) {
			slice := object.(*discoveryv1.EndpointSlice)
			return []string{slice.Namespace + "/" + serviceOf(slice)}, nil
		}},
	})
	f.slices = store.(cache.Indexer)
	return controller
}

// serviceOf names the Service that a slice of endpoints belongs to.
func serviceOf(slice metav1.Object) string { return slice.GetLabels()[discoveryv1.LabelServiceName] }

// handler queues the Service that an object tells of, whatever has become of the object.
func (f *follower) handler(name func(metav1.Object) string) cache.ResourceEventHandler {
	queue := func(object any) {
		if unknown, isUnknown := object.(cache.DeletedFinalStateUnknown); isUnknown {
			object = unknown.Obj
		}
		if known, isObject := object.(metav1.Object); isObject && name(known) != "" {
			f.queue.Add(types.NamespacedName{Namespace: known.GetNamespace(), Name: name(known)})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    queue,
		DeleteFunc: queue,
		UpdateFunc: func(before, now any) {
			queue(before) // a slice may have been another Service's
			queue(now)
		},
	}
}

func (f *follower) work() {
	for {
		service, ended := f.queue.Get()
		if ended {
			return
		}
		f.show(service)
		f.queue.Done(service)
	}
}

// show tells the sink how a Service is now.
func (f *follower) show(name types.NamespacedName) {
	object, exists, _ := f.services.GetByKey(name.String()) // a store in memory does not fail
	if !exists {
		f.sink.RemoveService(name.Namespace, name.Name)
		f.queue.Forget(name)
		return
	}
	found, _ := f.slices.ByIndex(byService, name.String())
	slices := make([]*discoveryv1.EndpointSlice, len(found))
	for index, slice := range found {
		slices[index] = slice.(*discoveryv1.EndpointSlice)
	}
	if err := f.sink.SetService(f.cluster.translate(object.(*v1.Service), slices)); err != nil {
		log.Printf("%v; this is tried again", err)
		f.queue.AddRateLimited(name)
		return
	}
	f.queue.Forget(name)
}
