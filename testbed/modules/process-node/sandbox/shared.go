package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
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
	place := place{environment: paths.all(command.Environment), folder: paths.one(command.Folder)}
	if place.folder == "" {
		place.folder = s.pod.Folder // not the root: what the container writes there would stay on the machine
	}
	output, err := newCapture(command.Output)
	if err != nil {
		return nil, err
	}
	guarded, err := place.start(paths.all(command.Arguments), nil, output.writer, output.writer)
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

func (p *sharedProcess) Kill() error { return p.guarded.kill() }

// rewriter puts the paths of the machine in the place of a container's mount paths.
type rewriter []Mount

func newRewriter(mounts []Mount) rewriter {
	sorted := slices.Clone(mounts)
	slices.SortFunc(sorted, func(a, b Mount) int { return len(b.Target) - len(a.Target) }) // the innermost first
	return sorted
}

func (r rewriter) all(texts []string) []string {
	rewritten := make([]string, len(texts))
	for index, text := range texts {
		rewritten[index] = r.one(text)
	}
	return rewritten
}

// one rewrites the mount paths in a text, wherever one begins a path: not within a longer name.
func (r rewriter) one(text string) string {
	var rewritten strings.Builder
	for rest := 0; rest < len(text); {
		mount := r.at(text, rest)
		if mount == nil {
			rewritten.WriteByte(text[rest])
			rest++
			continue
		}
		rewritten.WriteString(mount.Source)
		rest += len(mount.Target)
	}
	return rewritten.String()
}

func (r rewriter) at(text string, start int) *Mount {
	if start > 0 && (isNameByte(text[start-1]) || text[start-1] == '/') {
		return nil
	}
	for index := range r {
		target := strings.TrimSuffix(r[index].Target, "/")
		end := start + len(target)
		if target != "" && strings.HasPrefix(text[start:], target) && (end == len(text) || !isNameByte(text[end])) {
			return &Mount{Source: r[index].Source, Target: target}
		}
	}
	return nil
}

func isNameByte(char byte) bool {
	return char == '-' || char == '_' || char == '.' || char >= '0' && char <= '9' ||
		char >= 'a' && char <= 'z' || char >= 'A' && char <= 'Z'
}
