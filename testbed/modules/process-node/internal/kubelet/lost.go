package kubelet

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bury settles a pod that was here before this process: what ran of it is gone, so it has failed, unless it had ended.
func (r *runner) bury(ctx context.Context) {
	defer close(r.done)
	pod := r.Pod()
	if !isTerminal(pod) {
		status := *pod.Status.DeepCopy()
		status.Phase, status.Reason = v1.PodFailed, "NodeRestarted"
		status.Message = "The process node ended while the pod ran, and its processes with it."
		for _, list := range [][]v1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
			for index := range list {
				loseContainer(&list[index])
			}
		}
		for index := range status.Conditions {
			condition := &status.Conditions[index]
			if condition.Type == v1.PodReady || condition.Type == v1.ContainersReady {
				condition.Status, condition.Reason, condition.Message = v1.ConditionFalse, "PodFailed", ""
				condition.LastTransitionTime = metav1.Now()
			}
		}
		status.Conditions = append(status.Conditions, v1.PodCondition{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonTerminationByKubelet,
			Message: status.Message, LastTransitionTime: metav1.Now(),
		})
		retry(ctx, func() error { return r.patchStatus(ctx, pod.Status, status) })
	}
	if pod.DeletionTimestamp != nil {
		r.kubelet.remove(ctx, pod)
	}
}

func loseContainer(status *v1.ContainerStatus) {
	if status.State.Terminated != nil {
		return
	}
	ended := &v1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown",
		Message:    "The container could not be located when the process node started.",
		FinishedAt: metav1.NewTime(time.Now()),
	}
	if status.State.Running != nil {
		ended.StartedAt = status.State.Running.StartedAt
	}
	status.State = v1.ContainerState{Terminated: ended}
	status.Ready = false
}
