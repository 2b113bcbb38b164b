package kubelet

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// events writes what a kubelet would say of a pod, in the same words.
type events struct {
	broadcaster record.EventBroadcaster
}

func newEvents(client kubernetes.Interface) *events {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return &events{broadcaster}
}

func (e *events) flush() { e.broadcaster.Shutdown() }

// event writes an event of the pod, or of one of its containers.
func (r *runner) event(container *container, kind, reason, format string, arguments ...any) {
	pod := r.Pod()
	about := &v1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion,
	}
	if container != nil {
		field := "containers"
		if container.role != mainRole {
			field = "initContainers"
		}
		about.FieldPath = fmt.Sprintf("spec.%s{%s}", field, container.spec.Name)
	}
	source := v1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName}
	recorder := r.kubelet.events.broadcaster.NewRecorder(scheme.Scheme, source)
	recorder.Eventf(about, kind, reason, format, arguments...)
}
