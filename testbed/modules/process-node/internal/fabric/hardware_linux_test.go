package fabric

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// startPod starts a process with a network namespace of its own.
func startPod(t *testing.T) int {
	t.Helper()
	pod := exec.Command("sleep", "infinity")
	pod.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := pod.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = pod.Process.Kill()
		_ = pod.Wait()
	})
	return pod.Process.Pid
}

// podHardware is the hardware address of a pod's link.
func podHardware(t *testing.T, pid int) string {
	t.Helper()
	space, err := netns.GetFromPid(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	handle, err := netlink.NewHandleAt(space)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	link, err := handle.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().HardwareAddr.String()
}

func changed(seen []string) bool {
	return slices.ContainsFunc(seen, func(address string) bool { return address != seen[0] })
}

func TestHardwareAddressesOutliveTheComingAndGoingOfPods(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	f, err := New(netip.MustParsePrefix("198.18.9.0/29"), netip.MustParsePrefix("198.19.9.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bridge []string
	pods := map[netip.Addr][]string{}
	for range 12 { // the range has four addresses for pods
		pid := startPod(t)
		address, err := f.Attach(pid)
		if err != nil {
			t.Fatal(err)
		}
		link, err := f.inside.LinkByName("pods")
		if err != nil {
			t.Fatal(err)
		}
		bridge = append(bridge, link.Attrs().HardwareAddr.String())
		pods[address] = append(pods[address], podHardware(t, pid))
		f.Release(address)
	}
	if changed(bridge) {
		t.Errorf("the gateway's hardware address changed: %v", bridge)
	}
	for address, seen := range pods {
		if changed(seen) {
			t.Errorf("%s had the hardware addresses %v", address, seen)
		}
	}
}
