package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"stepworks.dev/testbed/process-node/sandbox"
)

// afterStart runs the postStart hook of a container; one that fails ends the container.
func (r *runner) afterStart(c *container, process sandbox.Process) {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PostStart == nil {
		return
	}
	err := r.hook(r.ctx, c, process, c.spec.Lifecycle.PostStart)
	if err == nil || r.ctx.Err() != nil {
		return
	}
	r.event(c, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: %v", err)
	if err := process.Kill(); err != nil {
		r.event(c, v1.EventTypeWarning, "FailedKillPod", "error killing pod: %v", err)
	}
}

// hook runs what a container wants done after its start or before its end.
func (r *runner) hook(ctx context.Context, c *container, process sandbox.Process, handler *v1.LifecycleHandler) error {
	switch {
	case handler.Exec != nil:
		output, code, err := execute(ctx, process, handler.Exec.Command)
		if err == nil && code != 0 {
			err = fmt.Errorf("command %q exited with %d: %s", handler.Exec.Command, code, output)
		}
		return err
	case handler.HTTPGet != nil:
		status, body, err := r.get(ctx, c, handler.HTTPGet)
		if err == nil && status >= http.StatusBadRequest {
			err = fmt.Errorf("HTTP status %d: %s", status, body)
		}
		return err
	case handler.Sleep != nil:
		sleep(ctx, time.Duration(handler.Sleep.Seconds)*time.Second)
	}
	return nil
}

// execute runs a command in a container, and returns the beginning of its output and its exit code.
func execute(ctx context.Context, process sandbox.Process, arguments []string) (string, int, error) {
	output := &head{}
	code, err := process.Exec(ctx, arguments, nil, output, output)
	return output.String(), code, err
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

const longestOutput = 10 << 10

func (h *head) Write(content []byte) (int, error) {
	h.Buffer.Write(content[:min(len(content), max(0, longestOutput-h.Len()))])
	return len(content), nil
}
