package kubelet

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// describeConditions says how far the pod has come. The time of a condition is that of its last change.
func (r *runner) describeConditions(phase v1.PodPhase) []v1.PodCondition {
	unready := r.condition(v1.ContainersReady, phase, r.unready(), "ContainersNotReady", "unready")
	conditions := []v1.PodCondition{
		{Type: v1.PodReadyToStartContainers, Status: truth(r.sandbox != nil && !r.complete)},
		r.condition(v1.PodInitialized, "", r.uninitialized(), "ContainersNotInitialized", "incomplete"),
		unready,
		r.readiness(unready),
	}
	if r.ending != nil && r.ending.disrupted {
		conditions = append(conditions, v1.PodCondition{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonTerminationByKubelet,
			Message: r.ending.message,
		})
	}
	for index := range conditions {
		conditions[index] = r.dated(conditions[index])
	}
	return conditions
}

// condition is true when no container is amiss and the pod has not ended.
func (r *runner) condition(
	kind v1.PodConditionType, phase v1.PodPhase, amiss []*container, reason, adjective string,
) v1.PodCondition {
	switch {
	case phase == v1.PodSucceeded:
		return v1.PodCondition{Type: kind, Status: v1.ConditionFalse, Reason: "PodCompleted"}
	case phase == v1.PodFailed:
		return v1.PodCondition{Type: kind, Status: v1.ConditionFalse, Reason: "PodFailed"}
	case len(amiss) == 0:
		return v1.PodCondition{Type: kind, Status: v1.ConditionTrue}
	}
	return v1.PodCondition{
		Type: kind, Status: v1.ConditionFalse, Reason: reason,
		Message: fmt.Sprintf("containers with %s status: [%s]", adjective, names(amiss)),
	}
}

// readiness is that of the containers, and of the pod's readiness gates, which others write.
func (r *runner) readiness(containers v1.PodCondition) v1.PodCondition {
	containers.Type = v1.PodReady
	if containers.Status != v1.ConditionTrue {
		return containers
	}
	for _, gate := range r.pod.Spec.ReadinessGates {
		isOpen := slices.ContainsFunc(r.pod.Status.Conditions, func(condition v1.PodCondition) bool {
			return condition.Type == gate.ConditionType && condition.Status == v1.ConditionTrue
		})
		if !isOpen {
			return v1.PodCondition{
				Type: v1.PodReady, Status: v1.ConditionFalse, Reason: "ReadinessGatesNotReady",
				Message: fmt.Sprintf("the status of pod readiness gate %q is not \"True\"", gate.ConditionType),
			}
		}
	}
	return containers
}

func (r *runner) unready() []*container {
	var found []*container
	for _, c := range r.withRole(mainRole, sidecarRole) {
		if !c.ready {
			found = append(found, c)
		}
	}
	return found
}

func (r *runner) uninitialized() []*container {
	var found []*container
	for _, c := range r.withRole(initRole, sidecarRole) {
		ended := lastRun(c)
		isThrough := c.started || c.finished
		if c.role == initRole {
			isThrough = ended != nil && ended.ExitCode == 0
		}
		if !isThrough {
			found = append(found, c)
		}
	}
	return found
}

func (r *runner) dated(condition v1.PodCondition) v1.PodCondition {
	before, known := r.conditions[condition.Type]
	condition.LastTransitionTime = before.LastTransitionTime
	if !known || before.Status != condition.Status {
		condition.LastTransitionTime = metav1.Now()
	}
	r.conditions[condition.Type] = condition
	return condition
}

func truth(value bool) v1.ConditionStatus {
	if value {
		return v1.ConditionTrue
	}
	return v1.ConditionFalse
}
