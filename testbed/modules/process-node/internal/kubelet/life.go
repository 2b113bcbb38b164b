package kubelet

import (
	"context"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
)

// initialize runs the init containers one after the other, and tells whether the main ones may follow.
func (r *runner) initialize() bool {
	for _, c := range r.withRole(initRole, sidecarRole) {
		if c.role == sidecarRole {
			r.running.Go(func() { r.runContainer(c) })
			if !r.awaitStart(c) {
				return false
			}
			continue
		}
		if code := r.runContainer(c); code != 0 || r.ctx.Err() != nil {
			return false
		}
	}
	return r.ctx.Err() == nil
}

// awaitStart waits until a sidecar has started, which its startup probe may say late.
func (r *runner) awaitStart(c *container) bool {
	for sleep(r.ctx, 20*time.Millisecond) {
		r.mutex.Lock()
		started := c.started
		r.mutex.Unlock()
		if started {
			return true
		}
	}
	return false
}

// serve runs the main containers, and returns when all have ended or the pod shall.
func (r *runner) serve() {
	var mains sync.WaitGroup
	for _, c := range r.withRole(mainRole) {
		mains.Add(1)
		r.running.Go(func() {
			defer mains.Done()
			r.runContainer(c)
		})
	}
	ended := make(chan struct{})
	go func() {
		mains.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-r.ctx.Done():
	}
}

// stopAll ends what still runs: the main containers, then the sidecars in the reverse order of their start.
func (r *runner) stopAll() {
	r.end(ending{deadline: time.Now().Add(graceOf(r.Pod()))}) // for the sidecars of a pod that has done its work
	var stopping sync.WaitGroup
	for _, c := range r.withRole(mainRole, initRole) {
		stopping.Go(func() { r.terminate(r.grace, c, "Stopping container %s") })
	}
	stopping.Wait()
	sidecars := r.withRole(sidecarRole)
	for index := range sidecars {
		r.terminate(r.grace, sidecars[len(sidecars)-1-index], "Stopping container %s")
	}
}

func (r *runner) withRole(roles ...role) []*container {
	var found []*container
	for _, c := range r.containers {
		for _, wanted := range roles {
			if c.role == wanted {
				found = append(found, c)
			}
		}
	}
	return found
}

// terminate runs the preStop hook, asks the process to end, and kills it when the context ends before it does.
func (r *runner) terminate(ctx context.Context, c *container, why string) {
	r.mutex.Lock()
	process, ended := c.process, c.ended
	r.mutex.Unlock()
	if process == nil {
		return
	}
	r.event(c, v1.EventTypeNormal, "Killing", why, c.spec.Name)
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil && ctx.Err() == nil {
		if err := r.hook(ctx, c, process, c.spec.Lifecycle.PreStop); err != nil {
			r.event(c, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
		}
	}
	if ctx.Err() == nil {
		if err := process.Signal(syscall.SIGTERM); err != nil {
			r.event(c, v1.EventTypeWarning, "FailedKillPod", "error killing pod: %v", err)
		}
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
	}
	if err := process.Kill(); err != nil {
		r.event(c, v1.EventTypeWarning, "FailedKillPod", "error killing pod: %v", err)
	}
	<-ended
}
