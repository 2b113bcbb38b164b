package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// podSpaces are the namespaces that the containers of a pod share. The mount namespace is the pod's first process's;
// a container makes its own copy of it.
var podSpaces = []string{"ipc", "uts", "net", "pid", "mnt"}

type namespacesSandbox struct {
	host    *namespacesHost
	pod     Pod
	address netip.Addr
	first   *exec.Cmd
	orders  io.Closer
	spaces  *spaces
	ended   chan struct{}
	closing sync.Once

	mutex  sync.Mutex
	memory map[string]bool // the folders that are mounted in the pod
}

func (h *namespacesHost) NewSandbox(pod Pod) (Sandbox, error) {
	s := &namespacesSandbox{host: h, pod: pod, ended: make(chan struct{}), memory: map[string]bool{}}
	if err := os.MkdirAll(pod.Folder, 0o755); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.sandboxes[s] = true
	return s, nil
}

func (s *namespacesSandbox) start() error {
	s.first = exec.Command("/proc/self/exe", PodArgument)
	s.first.Stderr = os.Stderr
	s.first.Dir = "/"
	s.first.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	open := func() (err error) {
		s.spaces, err = openSpaces(fmt.Sprintf("/proc/%d", s.first.Process.Pid), podSpaces)
		return err
	}
	err := s.host.spawner.run(func() (err error) {
		s.orders, err = startChild(s.first, podOrder{s.pod.Hostname, s.shm()}, open)
		return err
	})
	if err != nil {
		if s.spaces != nil {
			s.spaces.close()
		}
		return fmt.Errorf("starting the pod's first process: %w", err)
	}
	go func() {
		_ = s.first.Wait()
		close(s.ended)
	}()
	return nil
}

func (s *namespacesSandbox) connect() (err error) {
	if s.address, err = s.host.fabric.Attach(s.first.Process.Pid); err != nil {
		return err
	}
	return s.writeNetworkFiles()
}

func (s *namespacesSandbox) shm() string { return filepath.Join(s.pod.Folder, "shm") }
func (s *namespacesSandbox) etc() string { return filepath.Join(s.pod.Folder, "etc") }

func (s *namespacesSandbox) Address() string { return s.address.String() }

func (s *namespacesSandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(s.Address(), strconv.Itoa(port)))
}

// writeNetworkFiles writes the files of /etc that tell a pod its names and who answers for others.
func (s *namespacesSandbox) writeNetworkFiles() error {
	services := "svc." + s.host.domain
	search := []string{s.pod.Namespace + "." + services, services, s.host.domain}
	own := s.pod.Hostname
	if s.pod.Subdomain != "" {
		own = strings.Join([]string{s.pod.Hostname, s.pod.Subdomain, search[0]}, ".") + " " + own
	}
	hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + s.Address() + " " + own + "\n"
	for _, alias := range s.pod.HostAliases {
		hosts += strings.Join(alias, " ") + "\n"
	}
	files := map[string]string{
		"hostname":      s.pod.Hostname + "\n",
		"hosts":         hosts,
		"nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
		"resolv.conf": fmt.Sprintf("nameserver %s\nsearch %s\noptions ndots:5\n",
			s.host.fabric.Gateway(), strings.Join(search, " ")),
	}
	if err := os.MkdirAll(s.etc(), 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.etc(), name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mountMemory mounts, in the pod's namespace, the folders in memory that its containers share. It runs there.
func (s *namespacesSandbox) mountMemory(mounts []Mount) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, mount := range mounts {
		if !mount.Memory || s.memory[mount.Source] {
			continue
		}
		if err := mountMemory(mount.Source, mount.Size); err != nil {
			return err
		}
		s.memory[mount.Source] = true
	}
	return nil
}

// Close ends the pod's first process; with it the kernel ends every other process of the pod and takes away its
// namespaces with all that is mounted and connected in them.
func (s *namespacesSandbox) Close() error {
	s.closing.Do(func() {
		_ = s.first.Process.Kill()
		<-s.ended
		s.orders.Close()
		s.host.spawner.close(s.spaces)
		if s.address.IsValid() {
			s.host.fabric.Release(s.address)
		}
		s.host.mutex.Lock()
		defer s.host.mutex.Unlock()
		delete(s.host.sandboxes, s)
	})
	return nil
}
