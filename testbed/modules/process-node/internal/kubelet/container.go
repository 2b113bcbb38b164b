package kubelet

import (
	"fmt"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/sandbox"
)

type role int

const (
	mainRole role = iota
	initRole
	sidecarRole // an init container that runs beside the main ones
)

const (
	firstBackoff   = time.Second // a kubelet begins at 10 s and goes up to 5 min; a laptop's user waits for this one
	longestBackoff = 30 * time.Second
	healthyRun     = time.Minute // after a run of this length the back-off begins anew
)

// container is a container of a pod. What changes is under the lock of its runner.
type container struct {
	spec *v1.Container
	role role

	state, last    v1.ContainerState
	restarts       int32
	started, ready bool
	process        sandbox.Process
	log, previous  *logFile
	ended          chan struct{} // closes when the process has ended and its state is written
	finished       bool          // it runs no more
}

// runContainer runs a container again and again, as the pod's restart policy has it, and returns its last exit code.
func (r *runner) runContainer(c *container) int32 {
	backoff := newBackoff(firstBackoff, longestBackoff)
	faults := newBackoff(time.Second, 10*time.Second)
	for r.ctx.Err() == nil {
		if !r.pull(c) {
			break
		}
		err := r.start(c)
		if isWaiting(err) {
			sleep(r.ctx, faults.Step())
			continue
		}
		begun := time.Now()
		if err == nil {
			r.watch(c)
		}
		if r.ctx.Err() != nil || !r.restarts(c) {
			break
		}
		if time.Since(begun) > healthyRun {
			backoff = newBackoff(firstBackoff, longestBackoff)
		}
		r.backOff(c, backoff.Step())
	}
	var code int32
	r.update(func() {
		c.finished = true
		if ended := lastRun(c); ended != nil {
			code = ended.ExitCode
		}
	})
	return code
}

// lastRun is how a container ended last; nil if it never ran.
func lastRun(c *container) *v1.ContainerStateTerminated {
	if c.state.Terminated != nil {
		return c.state.Terminated
	}
	return c.last.Terminated
}

// restarts tells whether a container that has ended is to run again.
func (r *runner) restarts(c *container) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	failed := lastRun(c).ExitCode != 0
	if c.role == sidecarRole {
		return true
	}
	policy := r.pod.Spec.RestartPolicy
	if c.spec.RestartPolicy != nil {
		policy = v1.RestartPolicy(*c.spec.RestartPolicy)
	}
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return failed
	}
	return c.role == mainRole || failed
}

// backOff waits before a container runs again.
func (r *runner) backOff(c *container, delay time.Duration) {
	pod := r.Pod()
	message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		delay, c.spec.Name, pod.Name, pod.Namespace, pod.UID)
	r.update(func() {
		c.last = c.state
		c.state = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: message}}
	})
	r.event(c, v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)",
		c.spec.Name, pod.Name, pod.Namespace, pod.UID)
	if sleep(r.ctx, delay) {
		r.update(func() { c.restarts++ })
	}
}

// watch returns when the container's process has ended and its state is written.
func (r *runner) watch(c *container) {
	r.mutex.Lock()
	process, begun := c.process, c.state.Running.StartedAt
	r.mutex.Unlock()
	probing := r.probe(c)
	exit := process.Wait()
	probing.stop()
	c.log.end()
	ended := &v1.ContainerStateTerminated{
		ExitCode: int32(exit.Code), Reason: "Completed", StartedAt: begun, FinishedAt: metav1.Now(),
		ContainerID: c.containerID(r.Pod()),
	}
	switch {
	case exit.OOMKilled:
		ended.Reason = "OOMKilled"
	case exit.Code != 0:
		ended.Reason = "Error"
	}
	ended.Message = r.terminationMessage(c, exit.Code != 0)
	r.update(func() {
		c.state = v1.ContainerState{Terminated: ended}
		c.started, c.ready, c.process = false, false, nil
		close(c.ended)
	})
}

// containerID names a run of a container.
func (c *container) containerID(pod *v1.Pod) string {
	return fmt.Sprintf("process://%s/%s/%d", pod.UID, c.spec.Name, c.restarts)
}

func (r *runner) containerFile(c *container, suffix string) string {
	return filepath.Join(r.folder, "containers", fmt.Sprintf("%s.%d.%s", c.spec.Name, c.restarts, suffix))
}
