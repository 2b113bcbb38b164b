package kubelet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/sandbox"
)

// waitingError says why a container cannot run yet; its state is waiting for that reason.
type waitingError struct {
	reason, message string
}

func (e *waitingError) Error() string { return e.reason + ": " + e.message }

func isWaiting(err error) bool {
	var waiting *waitingError
	return errors.As(err, &waiting)
}

// pull finds what stands for a container's image. Without that the container waits, as for an image that no registry
// has, until the pod ends.
func (r *runner) pull(c *container) bool {
	image := c.spec.Image
	if !config.IsReference(image) {
		message := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format",
			image, image)
		r.event(c, v1.EventTypeWarning, "InspectFailed", "%s", message)
		r.event(c, v1.EventTypeWarning, "Failed", "Error: InvalidImageName")
		r.wait(c, "InvalidImageName", message)
		<-r.ctx.Done()
		return false
	}
	if r.kubelet.config.FindImage(image) != nil {
		r.event(c, v1.EventTypeNormal, "Pulled", "Container image %q already present on machine", image)
		return true
	}
	problem := fmt.Sprintf("no entry of the process node's image table stands for %q; it has %s",
		image, r.kubelet.config.Patterns())
	r.event(c, v1.EventTypeNormal, "Pulling", "Pulling image %q", image)
	r.event(c, v1.EventTypeWarning, "Failed", "Failed to pull image %q: %s", image, problem)
	r.event(c, v1.EventTypeWarning, "Failed", "Error: ErrImagePull")
	r.wait(c, "ErrImagePull", problem)
	if sleep(r.ctx, firstBackoff) {
		r.event(c, v1.EventTypeNormal, "BackOff", "Back-off pulling image %q", image)
		r.event(c, v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
		r.wait(c, "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, problem))
		<-r.ctx.Done()
	}
	return false
}

func (r *runner) wait(c *container, reason, message string) {
	r.update(func() {
		c.state = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

// start starts a container. A waitingError is to be tried again; any other is how the container ended.
func (r *runner) start(c *container) error {
	command, err := r.command(c)
	if err != nil {
		var waiting *waitingError
		if errors.As(err, &waiting) && r.ctx.Err() == nil {
			r.event(c, v1.EventTypeWarning, "Failed", "Error: %s", waiting.message)
			r.wait(c, waiting.reason, waiting.message)
		}
		return err
	}
	r.event(c, v1.EventTypeNormal, "Created", "Container created")
	process, err := r.sandbox.Start(command)
	if err != nil {
		c.log.end()
		message := fmt.Sprintf("failed to start the container: %v", err)
		r.event(c, v1.EventTypeWarning, "Failed", "Error: %s", message)
		now := metav1.Now()
		r.update(func() {
			c.state = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				ExitCode: 128, Reason: "StartError", Message: message, StartedAt: now, FinishedAt: now,
				ContainerID: c.containerID(r.pod),
			}}
		})
		return err
	}
	r.update(func() {
		c.process, c.ended = process, make(chan struct{})
		c.state = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now())}}
		c.started = c.spec.StartupProbe == nil
		c.ready = c.started && c.spec.ReadinessProbe == nil
	})
	r.event(c, v1.EventTypeNormal, "Started", "Container started")
	r.afterStart(c, process)
	return nil
}

// command says what a container runs, with its log opened.
func (r *runner) command(c *container) (sandbox.Command, error) {
	image := r.kubelet.config.FindImage(c.spec.Image)
	variables, err := r.resolveEnvironment(r.ctx, c.spec, image.Env)
	if err != nil {
		return sandbox.Command{}, &waitingError{"CreateContainerConfigError", err.Error()}
	}
	arguments := commandLine(c.spec, image, variables)
	if len(arguments) == 0 {
		return sandbox.Command{}, &waitingError{"CreateContainerError", fmt.Sprintf(
			"no command specified: neither the container has one nor the entry %q of the process node's image table",
			image.Pattern)}
	}
	mounts, err := r.mounts(c.spec, variables)
	if err != nil {
		return sandbox.Command{}, &waitingError{"CreateContainerConfigError", err.Error()}
	}
	message, err := r.openFiles(c)
	if err != nil {
		return sandbox.Command{}, &waitingError{"CreateContainerError", err.Error()}
	}
	return sandbox.Command{
		Container: c.spec.Name, Arguments: arguments, Environment: list(variables),
		Folder: expand(c.spec.WorkingDir, variables), Mounts: append(mounts, message),
		MemoryLimit: c.spec.Resources.Limits.Memory().Value(), Output: c.log,
	}, nil
}

// commandLine is what a container runs: an own command takes the place of the image's with its arguments.
func commandLine(spec *v1.Container, image *config.Image, variables map[string]string) []string {
	command, arguments := expandAll(spec.Command, variables), expandAll(spec.Args, variables)
	if len(command) > 0 {
		return append(command, arguments...)
	}
	if len(arguments) == 0 {
		arguments = image.Args
	}
	return slices.Concat(image.Command, arguments)
}

// openFiles opens the log of a run and makes the file for its last words. The run before it stays readable.
func (r *runner) openFiles(c *container) (sandbox.Mount, error) {
	log, err := newLog(r.containerFile(c, "log"))
	if err != nil {
		return sandbox.Mount{}, err
	}
	message := r.containerFile(c, "message")
	if err := os.WriteFile(message, nil, 0o666); err != nil {
		return sandbox.Mount{}, err
	}
	if err := os.Chmod(message, 0o666); err != nil { // whatever the umask
		return sandbox.Mount{}, err
	}
	r.update(func() {
		if c.log != nil && c.log.path != log.path {
			if c.previous != nil {
				_ = os.Remove(c.previous.path) // nobody can ask for it any more
			}
			c.previous = c.log
		}
		c.log = log
	})
	return sandbox.Mount{Source: message, Target: c.spec.TerminationMessagePath}, nil
}

const (
	longestMessage  = 4096
	longestFallback = 2048
	fallbackLines   = 80
)

// terminationMessage is what a container left to say, or the end of its log where the pod wants that.
func (r *runner) terminationMessage(c *container, failed bool) string {
	content, err := os.ReadFile(r.containerFile(c, "message"))
	if err == nil && len(content) > 0 {
		return string(content[:min(len(content), longestMessage)])
	}
	if !failed || c.spec.TerminationMessagePolicy != v1.TerminationMessageFallbackToLogsOnError {
		return ""
	}
	var text strings.Builder
	if err := c.log.read(r.ctx, LogOptions{Tail: fallbackLines}, &text); err != nil {
		return fmt.Sprintf("cannot read the log: %v", err)
	}
	end := text.String()
	return end[max(0, len(end)-longestFallback):]
}
