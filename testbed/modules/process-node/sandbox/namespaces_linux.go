package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"stepworks.dev/testbed/process-node/internal/cgroup"
	"stepworks.dev/testbed/process-node/internal/fabric"
)

// namespacesHost gives each pod namespaces of its own.
type namespacesHost struct {
	spawner *spawner
	fabric  *fabric.Fabric
	cgroups *cgroup.Controller
	domain  string
	api     netip.Addr

	mutex     sync.Mutex
	sandboxes map[*namespacesSandbox]bool
}

// NewNamespacesHost makes a host that runs pods much as a container runtime does: each pod has its own network with an
// address, its own hostname, processes and shared memory; each container its own root file system, which is laid over
// the machine's, and a real limit of memory. It needs root.
//
// The kernel ends all of it with this process, however that ends, but for folders of control groups; see Sweep.
func NewNamespacesHost(options Options) (Host, Fabric, error) {
	if os.Geteuid() != 0 {
		return nil, nil, errors.New("pods in namespaces of their own need root")
	}
	Sweep(options.State)
	cgroups, err := cgroup.Find(options.State)
	if err != nil {
		return nil, nil, fmt.Errorf("bounding the memory of containers: %w", err)
	}
	spawner, err := newSpawner()
	if err != nil {
		return nil, nil, err
	}
	network, err := fabric.New(options.Pods, options.Services)
	if err != nil {
		cgroups.Close()
		return nil, nil, err
	}
	host := &namespacesHost{
		spawner: spawner, fabric: network, cgroups: cgroups, domain: options.Domain,
		api: options.Services.Masked().Addr().Next(), sandboxes: map[*namespacesSandbox]bool{},
	}
	if err := host.try(options.State); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("a trial container did not run: %w", err), host.Close())
	}
	return host, network, nil
}

// try runs one container, because no list of requirements says what this machine's kernel and rights really allow.
func (h *namespacesHost) try(state string) error {
	folder := filepath.Join(state, "trial")
	defer os.RemoveAll(folder)
	trial, err := h.NewSandbox(Pod{UID: "trial", Namespace: "trial", Name: "trial", Hostname: "trial", Folder: folder})
	if err != nil {
		return err
	}
	defer trial.Close()
	process, err := trial.Start(Command{Container: "trial", Arguments: []string{"/bin/true"}, MemoryLimit: 64 << 20})
	if err != nil {
		return err
	}
	if exit := process.Wait(); exit.Code != 0 {
		return fmt.Errorf("it ended with code %d", exit.Code)
	}
	return nil
}

// APIServer is the address of the Service `kubernetes`, which is the first of its range.
func (h *namespacesHost) APIServer() (host, port string) { return h.api.String(), "443" }

func (h *namespacesHost) Close() error {
	h.mutex.Lock()
	left := make([]*namespacesSandbox, 0, len(h.sandboxes))
	for sandbox := range h.sandboxes {
		left = append(left, sandbox)
	}
	h.mutex.Unlock()
	problems := make([]error, 0, len(left)+1)
	for _, sandbox := range left {
		problems = append(problems, sandbox.Close())
	}
	h.cgroups.Close()
	return errors.Join(append(problems, h.fabric.Close())...)
}

// Sweep removes the control groups of a process node that did not end in order. Folders of pods are left to whoever
// owns the state folder.
func Sweep(state string) { cgroup.Sweep(state) }
