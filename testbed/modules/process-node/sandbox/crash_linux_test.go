package sandbox

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stepworks.dev/testbed/process-node/internal/cgroup"
)

// crashArgument makes this program one that starts pods and is then killed.
const crashArgument = "crash"

var (
	crashPods     = netip.MustParsePrefix("198.18.8.0/24")
	crashServices = netip.MustParsePrefix("198.19.8.0/24")
)

func runCrashing(state string) {
	host, _, err := NewNamespacesHost(Options{Pods: crashPods, Services: crashServices, Domain: "x", State: state})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for _, name := range []string{"one", "two"} {
		sandbox, err := host.NewSandbox(Pod{
			UID: name, Namespace: "team", Name: name, Hostname: name, Folder: filepath.Join(state, name),
		})
		if err == nil {
			_, err = sandbox.Start(Command{
				Container: "main", MemoryLimit: 64 << 20, Environment: []string{path}, Output: io.Discard,
				Arguments: []string{"sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"},
			})
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	fmt.Println("running")
	select {}
}

// remains lists what exists on the machine because of a process node with a state folder.
func remains(t *testing.T, state string) []string {
	t.Helper()
	var found []string
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		command, _ := os.ReadFile(process + "/cmdline")
		if strings.HasPrefix(string(command), "sleep\x001000") || strings.Contains(string(command), crashArgument+"\x00"+state) {
			found = append(found, process)
		}
		mounts, _ := os.ReadFile(process + "/mountinfo")
		if strings.Contains(string(mounts), state) {
			found = append(found, "a mount seen by "+process)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Name == "pods-120800" { // 198.18.8.0
			found = append(found, link.Name)
		}
	}
	return append(found, cgroup.Remains(state)...)
}

func TestKilledHostLeavesNothing(t *testing.T) {
	newTestHost(t) // skips where there are no namespaces
	state := t.TempDir()
	victim := exec.Command("/proc/self/exe", crashArgument, state)
	output := &safeBuffer{}
	victim.Stdout, victim.Stderr = output, output
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	output.await("r")
	if output.await("\n"); output.String() != "running\n" {
		t.Fatal(output.String())
	}
	if before := remains(t, state); len(before) < 8 {
		t.Errorf("the pods are not seen: %v", before)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	Sweep(t.TempDir()) // as the next process node does, whichever folder it has
	// The kernel takes a moment to end the processes and to delete the network; it needs nobody for that.
	left := remains(t, state)
	for range 500 {
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
		left = remains(t, state)
	}
	t.Errorf("left behind: %v", left)
}
