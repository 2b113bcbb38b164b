package kubelet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"stepworks.dev/testbed/process-node/sandbox"
)

// probing is the probes of one run of a container.
type probing struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (p *probing) stop() {
	p.cancel()
	p.done.Wait()
}

// probe begins the probes of a container that has started.
func (r *runner) probe(c *container) *probing {
	ctx, cancel := context.WithCancel(r.ctx)
	p := &probing{cancel: cancel}
	r.mutex.Lock()
	process := c.process
	r.mutex.Unlock()
	p.done.Go(func() {
		if c.spec.StartupProbe != nil {
			if !r.repeat(ctx, c, process, "Startup", c.spec.StartupProbe, func(bool) bool { return false }) {
				return
			}
			r.update(func() {
				c.started = true
				c.ready = c.spec.ReadinessProbe == nil
			})
		}
		if c.spec.LivenessProbe != nil {
			p.done.Go(func() {
				r.repeat(ctx, c, process, "Liveness", c.spec.LivenessProbe, func(bool) bool { return true })
			})
		}
		if c.spec.ReadinessProbe != nil {
			r.repeat(ctx, c, process, "Readiness", c.spec.ReadinessProbe, func(passed bool) bool {
				r.update(func() { c.ready = passed })
				return true
			})
		}
	})
	return p
}

// repeat probes a container until the context ends, the probe's verdict ends the container, or a verdict is enough for
// the one who wanted it: decide is told each verdict, and says whether to go on. It returns whether that verdict was
// that the probe passed.
func (r *runner) repeat(
	ctx context.Context, c *container, process sandbox.Process, kind string, probe *v1.Probe, decide func(bool) bool,
) bool {
	if !sleep(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return false
	}
	passes, failures := int32(0), int32(0)
	for {
		err := r.attempt(ctx, c, process, probe)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			passes, failures = passes+1, 0
		} else {
			passes, failures = 0, failures+1
			r.event(c, v1.EventTypeWarning, "Unhealthy", "%s probe failed: %v", kind, err)
		}
		switch {
		case passes >= max(1, probe.SuccessThreshold):
			if !decide(true) {
				return true
			}
		case failures >= max(1, probe.FailureThreshold) && kind == "Readiness":
			decide(false)
		case failures >= max(1, probe.FailureThreshold):
			go r.endUnhealthy(c, kind, probe)
			return false
		}
		if !sleep(ctx, r.period(c, kind, probe)) {
			return false
		}
	}
}

// period is the time to the next attempt. Until a container is ready it is asked every second: who waits for it has
// nothing from a longer period.
func (r *runner) period(c *container, kind string, probe *v1.Probe) time.Duration {
	period := time.Duration(max(1, probe.PeriodSeconds)) * time.Second
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if kind == "Readiness" && !c.ready {
		return min(period, time.Second)
	}
	return period
}

// endUnhealthy ends a container whose probe has failed; its restart policy says what follows.
func (r *runner) endUnhealthy(c *container, kind string, probe *v1.Probe) {
	grace := graceOf(r.Pod())
	if probe.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	ctx, cancel := context.WithTimeout(r.grace, grace)
	defer cancel()
	what := map[string]string{"Startup": "startup", "Liveness": "liveness"}[kind]
	r.terminate(ctx, c, "Container %s failed "+what+" probe, will be restarted")
}

// attempt probes a container once; nil is that it passed.
func (r *runner) attempt(ctx context.Context, c *container, process sandbox.Process, probe *v1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, probe.TimeoutSeconds))*time.Second)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		status, body, err := r.get(ctx, c, probe.HTTPGet)
		if err == nil && (status < http.StatusOK || status >= http.StatusBadRequest) {
			err = fmt.Errorf("HTTP probe failed with statuscode: %d: %s", status, body)
		}
		return err
	case probe.TCPSocket != nil:
		connection, err := r.dial(ctx, c, probe.TCPSocket.Host, probe.TCPSocket.Port)
		if err != nil {
			return err
		}
		return connection.Close()
	case probe.Exec != nil:
		output, code, err := execute(ctx, process, probe.Exec.Command)
		if err == nil && code != 0 {
			err = fmt.Errorf("command %q exited with %d: %s", probe.Exec.Command, code, output)
		}
		return err
	case probe.GRPC != nil:
		return r.checkGRPC(ctx, c, probe.GRPC)
	}
	return fmt.Errorf("the probe says neither httpGet, tcpSocket, exec nor grpc")
}

// dial connects to a port of a container, by number or name.
func (r *runner) dial(ctx context.Context, c *container, host string, port intstr.IntOrString) (net.Conn, error) {
	number := port.IntValue()
	if port.Type == intstr.String && number == 0 {
		for _, declared := range c.spec.Ports {
			if declared.Name == port.StrVal {
				number = int(declared.ContainerPort)
			}
		}
	}
	if number == 0 {
		return nil, fmt.Errorf("container %s declares no port with the name %q", c.spec.Name, port.StrVal)
	}
	if host != "" {
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(number)))
	}
	return r.sandbox.Dial(ctx, number)
}

// get sends an HTTP request to a container, and returns the status and the beginning of the body.
func (r *runner) get(ctx context.Context, c *container, action *v1.HTTPGetAction) (int, string, error) {
	scheme := "http"
	if action.Scheme == v1.URISchemeHTTPS {
		scheme = "https"
	}
	path := action.Path
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	address := net.JoinHostPort(r.address(), action.Port.String())
	if action.Port.Type == intstr.String {
		address = r.address()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("User-Agent", "kube-probe/1.36")
	for _, header := range action.HTTPHeaders {
		if header.Name == "Host" {
			request.Host = header.Value
		} else {
			request.Header.Add(header.Name, header.Value)
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return r.dial(ctx, c, action.Host, action.Port)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: dial, TLSClientConfig: unverified(), DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestOutput))
	return response.StatusCode, string(body), err
}
