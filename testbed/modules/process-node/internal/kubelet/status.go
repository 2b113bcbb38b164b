package kubelet

import (
	"context"
	"encoding/json"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// status is the state of the pod as Kubernetes writes it.
func (r *runner) status() v1.PodStatus {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	started := metav1.NewTime(r.started.Truncate(time.Second))
	status := v1.PodStatus{Phase: r.phase(), HostIP: hostAddress, StartTime: &started}
	status.HostIPs = []v1.HostIP{{IP: hostAddress}}
	if r.sandbox != nil {
		status.PodIP = r.sandbox.Address()
		status.PodIPs = []v1.PodIP{{IP: status.PodIP}}
	}
	for _, c := range r.containers {
		if c.role == mainRole {
			status.ContainerStatuses = append(status.ContainerStatuses, r.containerStatus(c))
		} else {
			status.InitContainerStatuses = append(status.InitContainerStatuses, r.containerStatus(c))
		}
	}
	if r.complete && r.ending != nil && r.ending.phase != "" {
		status.Reason, status.Message = r.ending.reason, r.ending.message
	}
	status.Conditions = r.describeConditions(status.Phase)
	return status
}

// phase is where the pod is in its life.
func (r *runner) phase() v1.PodPhase {
	if !r.complete {
		for _, c := range r.containers {
			if c.role == mainRole && (c.state.Running != nil || lastRun(c) != nil) {
				return v1.PodRunning
			}
		}
		return v1.PodPending
	}
	if r.ending != nil && r.ending.phase != "" {
		return r.ending.phase
	}
	for _, c := range r.containers {
		if ended := lastRun(c); c.role != sidecarRole && (ended == nil || ended.ExitCode != 0) {
			return v1.PodFailed
		}
	}
	return v1.PodSucceeded
}

func (r *runner) containerStatus(c *container) v1.ContainerStatus {
	started := c.started
	status := v1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(),
		RestartCount: c.restarts, Ready: c.ready, Started: &started,
	}
	if c.role == initRole && c.state.Terminated != nil {
		status.Ready = c.state.Terminated.ExitCode == 0
	}
	switch {
	case c.state == (v1.ContainerState{}):
		status.State.Waiting = r.waiting.DeepCopy()
		hasInit := c.role == mainRole && len(r.withRole(initRole, sidecarRole)) > 0
		if r.waiting.Message == "" && (hasInit || r.volumes != nil) {
			status.State.Waiting.Reason = "PodInitializing"
		}
	case c.state.Running != nil || c.state.Terminated != nil:
		status.ContainerID = c.containerID(r.pod)
		status.ImageID = c.spec.Image
	}
	return status
}

// writeStatus writes the status to the API server whenever it has changed, and once more at the end.
func (r *runner) writeStatus(ctx context.Context, finished <-chan struct{}, written chan<- struct{}) {
	defer close(written)
	last := v1.PodStatus{}
	for {
		isLast := false
		select {
		case <-r.changed:
		case <-finished:
			isLast = true
		case <-ctx.Done():
			return
		}
		retry(ctx, func() error {
			status := r.status() // the newest, should an attempt fail
			err := r.patchStatus(ctx, last, status)
			if err == nil {
				last = status
			}
			return err
		})
		if isLast {
			return
		}
	}
}

// patchStatus writes the difference, so that what others write into the status stays.
func (r *runner) patchStatus(ctx context.Context, before, after v1.PodStatus) error {
	old, err := json.Marshal(v1.Pod{Status: before})
	if err != nil {
		return err
	}
	pod := r.Pod()
	wanted, err := json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: after})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(old, wanted, v1.Pod{})
	if err != nil {
		return err
	}
	_, err = r.kubelet.client.CoreV1().Pods(pod.Namespace).Patch(
		ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// retry repeats a request until it is answered. That the object is gone, or is another one of the same name, is an
// answer too.
func retry(ctx context.Context, request func() error) {
	backoff := newBackoff(100*time.Millisecond, 2*time.Second)
	for {
		err := request()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
			return
		}
		if !sleep(ctx, backoff.Step()) {
			return
		}
	}
}
