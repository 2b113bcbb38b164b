package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// podOrder is what a pod's first process is told.
type podOrder struct {
	Hostname string
	// Shm is the folder that becomes the pod's shared memory.
	Shm string
}

// A container gets this much shared memory unless the pod mounts its own, as with container runtimes.
const sharedMemory = 64 << 20

// runPodRole is a pod's first process. It holds the pod's namespaces, collects orphans, and ends with the process node.
func runPodRole() {
	unix.CloseOnExec(childSpec)
	unix.CloseOnExec(childReport)
	orders := os.NewFile(childSpec, "order")
	decoder := json.NewDecoder(orders)
	var order podOrder
	if err := decoder.Decode(&order); err != nil {
		report(err)
	}
	if err := prepare(order); err != nil {
		report(err)
	}
	if err := unix.Close(childReport); err != nil {
		report(err)
	}
	go reap()
	_ = decoder.Decode(new(struct{})) // nothing comes any more but the end of the process node
}

func prepare(order podOrder) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(order.Hostname)); err != nil {
		return fmt.Errorf("setting the hostname: %w", err)
	}
	if err := mountMemory(order.Shm, sharedMemory); err != nil {
		return err
	}
	// A link-local IPv6 address beside the pod's own would be taken for an address of the pod by some programs.
	path := "/proc/sys/net/ipv6/conf/default/disable_ipv6"
	if err := os.WriteFile(path, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("switching IPv6 off: %w", err)
	}
	return nil
}

// mountMemory mounts a file system that is kept in memory; a size of 0 leaves the kernel's own bound.
func mountMemory(folder string, size int64) error {
	options := "mode=1777"
	if size > 0 {
		options += fmt.Sprintf(",size=%d", size)
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting memory at %s: %w", folder, err)
	}
	return nil
}

func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for range children {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
