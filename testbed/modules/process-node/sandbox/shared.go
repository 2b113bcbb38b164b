package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const loopback = "127.0.0.1"

// PortInUseError says that a pod cannot have a port that it declares.
type PortInUseError struct {
	Port   int
	Holder string
}

func (e *PortInUseError) Error() string {
	return fmt.Sprintf("port %d is taken by %s: pods share the machine's loopback address here, so each needs ports of "+
		"its own; end that one or declare another containerPort", e.Port, e.Holder)
}

// sharedHost runs pods as plain processes of the machine: they share its network, its files and its users.
type sharedHost struct {
	apiHost, apiPort string

	mutex     sync.Mutex
	holders   map[int]string
	sandboxes map[*sharedSandbox]bool
}

// NewSharedHost makes a host that isolates nothing, for machines where the kernel or the user's rights do not allow
// more. Every pod has the address 127.0.0.1; the paths of volumes are rewritten in arguments and variables.
func NewSharedHost(apiHost, apiPort string) Host {
	return &sharedHost{
		apiHost: apiHost, apiPort: apiPort,
		holders: map[int]string{}, sandboxes: map[*sharedSandbox]bool{},
	}
}

func (h *sharedHost) APIServer() (host, port string) { return h.apiHost, h.apiPort }

func (h *sharedHost) NewSandbox(pod Pod) (Sandbox, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, port := range pod.Ports {
		if holder, taken := h.holders[port]; taken {
			return nil, &PortInUseError{port, holder}
		}
		if !isFree(port) {
			return nil, &PortInUseError{port, "another process of this machine"}
		}
	}
	for _, port := range pod.Ports {
		h.holders[port] = fmt.Sprintf("pod %s/%s", pod.Namespace, pod.Name)
	}
	sandbox := &sharedSandbox{host: h, pod: pod, processes: map[*sharedProcess]bool{}}
	h.sandboxes[sandbox] = true
	return sandbox, nil
}

func (h *sharedHost) Close() error {
	h.mutex.Lock()
	sandboxes := make([]*sharedSandbox, 0, len(h.sandboxes))
	for sandbox := range h.sandboxes {
		sandboxes = append(sandboxes, sandbox)
	}
	h.mutex.Unlock()
	for _, sandbox := range sandboxes {
		if err := sandbox.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (h *sharedHost) forget(sandbox *sharedSandbox) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.sandboxes[sandbox] {
		delete(h.sandboxes, sandbox)
		for _, port := range sandbox.pod.Ports {
			delete(h.holders, port)
		}
	}
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

type sharedSandbox struct {
	host *sharedHost
	pod  Pod

	mutex     sync.Mutex
	processes map[*sharedProcess]bool
}

func (s *sharedSandbox) Address() string { return loopback }

func (s *sharedSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
}

func (s *sharedSandbox) Start(command Command) (Process, error) {
	for _, mount := range command.Mounts {
		if mount.Memory {
			if err := os.MkdirAll(mount.Source, 0o777); err != nil {
				return nil, err
			}
		}
	}
	paths := newRewriter(command.Mounts)
	place := place{environment: paths.all(s.resolve(command.Environment)), folder: paths.one(command.Folder)}
	if place.folder == "" {
		place.folder = s.pod.Folder // not the root: what the container writes there would stay on the machine
	}
	output, err := newCapture(command.Output)
	if err != nil {
		return nil, err
	}
	guarded, err := place.start(paths.all(s.resolve(command.Arguments)), nil, output.writer, output.writer)
	output.started()
	if err != nil {
		return nil, err
	}
	process := &sharedProcess{guarded: guarded, place: place, paths: paths}
	process.ended = sync.OnceValue(func() Exit {
		exit := guarded.wait()
		output.complete(time.Second)
		s.mutex.Lock()
		defer s.mutex.Unlock()
		delete(s.processes, process)
		return exit
	})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.processes[process] = true
	return process, nil
}

// resolve puts loopback in the place of the names of pods and Services, where such a name is the whole host of a
// variable's value: nobody resolves them here. A Service's port must then be the pod's own.
func (s *sharedSandbox) resolve(environment []string) []string {
	peer := `[a-z0-9-]+(?:\.[a-z0-9-]+)?\.` + regexp.QuoteMeta(s.pod.Namespace) + `\.svc(?:\.[a-z0-9.-]+)?`
	if s.pod.Subdomain != "" { // the pods of the same headless Service need no more than that
		peer += `|[a-z0-9-]+\.` + regexp.QuoteMeta(s.pod.Subdomain)
	}
	host := regexp.MustCompile(`^([^=]*=(?:[a-z0-9+]+://)?)(?:` + peer + `)((?:[:/].*)?)$`)
	resolved := make([]string, len(environment))
	for index, variable := range environment {
		resolved[index] = host.ReplaceAllString(variable, "${1}"+loopback+"${2}")
	}
	return resolved
}

func (s *sharedSandbox) Close() error {
	s.mutex.Lock()
	processes := make([]*sharedProcess, 0, len(s.processes))
	for process := range s.processes {
		processes = append(processes, process)
	}
	s.mutex.Unlock()
	for _, process := range processes {
		if err := process.Kill(); err != nil {
			return err
		}
		process.Wait()
	}
	s.host.forget(s)
	return nil
}

type sharedProcess struct {
	guarded *guarded
	place   place
	paths   rewriter
	ended   func() Exit
}

func (p *sharedProcess) Wait() Exit { return p.ended() }

func (p *sharedProcess) Signal(signal syscall.Signal) error { return p.guarded.signal(signal) }

func (p *sharedProcess) Kill() error {
	p.guarded.kill()
	return nil
}
