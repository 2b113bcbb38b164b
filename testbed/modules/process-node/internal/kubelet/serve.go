package kubelet

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"

	v1 "k8s.io/api/core/v1"

	"stepworks.dev/testbed/process-node/sandbox"
)

// ReadLog copies a container's log.
func (k *Kubelet) ReadLog(
	ctx context.Context, namespace, pod, name string, options LogOptions, output io.Writer,
) error {
	log, err := k.findLog(namespace, pod, name, options.Previous)
	if err != nil {
		return err
	}
	return log.read(ctx, options, output)
}

func (k *Kubelet) findLog(namespace, pod, name string, previous bool) (*logFile, error) {
	r, c, err := k.findContainer(namespace, pod, name)
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	log := c.log
	if previous {
		log = c.previous
		if c.state.Waiting != nil && c.log != nil { // between two runs, the last one is the previous one of the next
			log = c.log
		}
	}
	switch {
	case log == nil && previous:
		return nil, fmt.Errorf("previous terminated container %q in pod %q %w", name, pod, ErrNotFound)
	case log == nil:
		return nil, &NotRunningError{name, pod, r.containerStatus(c).State}
	}
	return log, nil
}

// NotRunningError says that a container does not run, or has not run yet.
type NotRunningError struct {
	Container, Pod string
	State          v1.ContainerState
}

func (e *NotRunningError) Error() string {
	switch {
	case e.State.Waiting != nil:
		return fmt.Sprintf("container %q in pod %q is waiting to start: %s", e.Container, e.Pod, e.State.Waiting.Reason)
	case e.State.Terminated != nil:
		return fmt.Sprintf("container %q in pod %q has ended: %s", e.Container, e.Pod, e.State.Terminated.Reason)
	}
	return fmt.Sprintf("container %q in pod %q is waiting to start", e.Container, e.Pod)
}

// Exec runs a command in a container, and returns its exit code.
func (k *Kubelet) Exec(
	ctx context.Context, namespace, pod, name string, arguments []string, in io.Reader, out, problems io.Writer,
) (int, error) {
	r, c, err := k.findContainer(namespace, pod, name)
	if err != nil {
		return 0, err
	}
	r.mutex.Lock()
	process, state := c.process, r.containerStatus(c).State
	r.mutex.Unlock()
	if process == nil {
		return 0, &NotRunningError{name, pod, state}
	}
	return process.Exec(ctx, arguments, in, out, problems)
}

// Dial connects to a port of a pod.
func (k *Kubelet) Dial(ctx context.Context, namespace, pod string, port int) (net.Conn, error) {
	r, err := k.find(namespace, pod)
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	var place sandbox.Sandbox
	if !r.complete {
		place = r.sandbox
	}
	r.mutex.Unlock()
	if place == nil {
		return nil, fmt.Errorf("pod %s/%s does not run", namespace, pod)
	}
	return place.Dial(ctx, port)
}

func (k *Kubelet) findContainer(namespace, pod, name string) (*runner, *container, error) {
	r, err := k.find(namespace, pod)
	if err != nil {
		return nil, nil, err
	}
	index := slices.IndexFunc(r.containers, func(c *container) bool { return c.spec.Name == name })
	if index < 0 {
		return nil, nil, fmt.Errorf("container %q in pod %q %w", name, pod, ErrNotFound)
	}
	return r, r.containers[index], nil
}
