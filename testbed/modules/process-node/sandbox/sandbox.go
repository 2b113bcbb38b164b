// Package sandbox is where the processes of pods run: in namespaces of their own where the kernel offers them, or on
// the machine as it is.
//
// A Host makes a Sandbox for every pod; a Sandbox starts the containers of that pod as processes. Whatever a Host
// makes of the machine goes when its process goes, however that ends, but for folders, which Sweep removes.
package sandbox

import (
	"context"
	"io"
	"net"
	"syscall"
)

// Host makes sandboxes.
type Host interface {
	// NewSandbox prepares the place where a pod's containers run.
	NewSandbox(pod Pod) (Sandbox, error)
	// APIServer is the address, host and port, at which a pod reaches the API server.
	APIServer() (host string, port string)
	// Close ends every sandbox and takes away what the host made of the machine.
	Close() error
}

// Pod is what a sandbox must know of its pod.
type Pod struct {
	UID       string
	Namespace string
	Name      string
	Hostname  string
	Subdomain string
	// HostAliases are lines of /etc/hosts: an address and its names.
	HostAliases [][]string
	// Ports are the ports that the pod's containers declare; where pods share loopback, one that is taken is refused.
	Ports []int
	// Folder is the pod's own folder on the machine, for what the sandbox must keep in files.
	Folder string
}

// Sandbox is the place of one pod.
type Sandbox interface {
	// Address is the pod's IP address.
	Address() string
	// Start starts a container.
	Start(command Command) (Process, error)
	// Dial connects to a port of the pod.
	Dial(ctx context.Context, port int) (net.Conn, error)
	// Close kills what still runs and takes away the sandbox. It can be called again.
	Close() error
}

// Mount shows a file or folder of the machine at a path of the container. With Size it is a memory file system
// instead, of at most that many bytes.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
	Memory   bool
	Size     int64
}

// Command is what a container runs.
type Command struct {
	Container string
	Arguments []string
	// Environment is complete: nothing of the machine's own is added.
	Environment []string
	// Folder is the working directory; empty for the root.
	Folder string
	Mounts []Mount
	// MemoryLimit is in bytes; 0 for none.
	MemoryLimit int64
	Output      io.Writer
}

// Process is a container that was started.
type Process interface {
	// Wait returns when it has ended and its output is complete.
	Wait() Exit
	// Signal sends a signal to the container's first process.
	Signal(signal syscall.Signal) error
	// Kill ends all processes of the container at once.
	Kill() error
	// Exec runs another command in the container's place, and returns its exit code.
	Exec(ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer) (int, error)
}

// Exit is how a container ended.
type Exit struct {
	// Code is the exit code, 128 and the signal's number where a signal ended it.
	Code      int
	Signal    int
	OOMKilled bool
}
