package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A test's program is also the first process of its pods.
func TestMain(m *testing.M) {
	RunRole(os.Args)
	if len(os.Args) > 1 && os.Args[1] == crashArgument {
		runCrashing(os.Args[2])
	}
	os.Exit(m.Run())
}

// Of the ranges that are set aside for benchmarks, so that they are nobody's here; two runs of the tests at once mostly
// take different ones.
var (
	testPods     = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(os.Getpid()), 0}), 24)
	testServices = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(os.Getpid()), 0}), 24)
)

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func newTestHost(t *testing.T) *namespacesHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
	options := Options{Pods: testPods, Services: testServices, Domain: "cluster.local", State: t.TempDir()}
	host, _, err := NewNamespacesHost(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host.(*namespacesHost)
}

func newTestSandbox(t *testing.T, host *namespacesHost, name string) Sandbox {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name)
	sandbox, err := host.NewSandbox(Pod{
		UID: name, Namespace: "team", Name: name, Hostname: name, Subdomain: "group", Folder: folder,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sandbox.Close(); err != nil {
			t.Error(err)
		}
	})
	return sandbox
}

type safeBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(data)
}

func (b *safeBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

// await waits until the output has a text; a test that never sees it ends with its own time limit.
func (b *safeBuffer) await(text string) {
	for !strings.Contains(b.String(), text) {
		time.Sleep(5 * time.Millisecond)
	}
}

func shell(script string, output io.Writer, mounts ...Mount) Command {
	return Command{
		Container: "main", Arguments: []string{"sh", "-c", script}, Environment: []string{path}, Mounts: mounts,
		Output: output,
	}
}

func runShell(t *testing.T, sandbox Sandbox, script string, mounts ...Mount) (Exit, string) {
	t.Helper()
	output := &safeBuffer{}
	process, err := sandbox.Start(shell(script, output, mounts...))
	if err != nil {
		t.Fatal(err)
	}
	return process.Wait(), output.String()
}

func TestPodSeesItself(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	exit, output := runShell(t, sandbox, "hostname; getent hosts pod-a; cat /etc/resolv.conf; readlink /proc/self/ns/net")
	if exit.Code != 0 {
		t.Errorf("code %d", exit.Code)
	}
	for _, expected := range []string{
		"pod-a\n", sandbox.Address(), "pod-a.group.team.svc.cluster.local",
		"search team.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5",
	} {
		if !strings.Contains(output, expected) {
			t.Errorf("%q is not in %q", expected, output)
		}
	}
	if own, _ := os.Readlink("/proc/self/ns/net"); strings.Contains(output, own) {
		t.Error("the pod has the machine's network")
	}
}

func TestContainerWritesNothingToTheMachine(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	exit, output := runShell(t, sandbox, "echo x > /written-by-a-pod && cat /written-by-a-pod")
	if exit.Code != 0 || output != "x\n" {
		t.Errorf("code %d, output %q", exit.Code, output)
	}
	if _, err := os.Stat("/written-by-a-pod"); !os.IsNotExist(err) {
		t.Errorf("the file is on the machine: %v", err)
	}
	if _, output := runShell(t, sandbox, "ls /written-by-a-pod"); !strings.Contains(output, "No such file") {
		t.Errorf("the next run of the container sees the file: %q", output)
	}
}

func TestMountsAreAtTheirPaths(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	mounts := []Mount{
		{Source: data, Target: "/mnt/new/data"},
		{Source: file, Target: "/mnt/new/data/below/file", ReadOnly: true},
		{Source: filepath.Join(t.TempDir(), "memory"), Target: "/dev/shm", Memory: true, Size: 1 << 20},
	}
	script := "cat /mnt/new/data/below/file; echo; echo y > /mnt/new/data/out; echo z > /mnt/new/data/below/file;" +
		"stat -f -c %T /dev/shm; head -c 2097152 /dev/zero > /dev/shm/big"
	exit, output := runShell(t, sandbox, script, mounts...)
	for _, expected := range []string{"content\n", "Read-only file system", "tmpfs", "No space left"} {
		if !strings.Contains(output, expected) {
			t.Errorf("%q is not in %q", expected, output)
		}
	}
	if exit.Code == 0 {
		t.Error("writing more than the memory's size succeeded")
	}
	if written, err := os.ReadFile(filepath.Join(data, "out")); string(written) != "y\n" {
		t.Errorf("the volume has %q, %v", written, err)
	}
}

func TestMountPathMayLeadThroughALink(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	mount := Mount{Source: filepath.Dir(file), Target: "/var/run/process-node-test"} // /var/run is a link to /run
	if _, output := runShell(t, sandbox, "cat /var/run/process-node-test/file", mount); output != "token" {
		t.Errorf("output %q", output)
	}
	if _, err := os.Stat("/run/process-node-test"); !os.IsNotExist(err) {
		t.Errorf("the mount point is on the machine: %v", err)
	}
}

func TestExitTellsTheSignal(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	for script, expected := range map[string]Exit{
		"exit 3": {Code: 3}, "kill -TERM $$": {Code: 143, Signal: 15}, "kill -KILL $$": {Code: 137, Signal: 9},
	} {
		if exit, _ := runShell(t, sandbox, script); exit != expected {
			t.Errorf("%s: %+v, expected %+v", script, exit, expected)
		}
	}
}

func TestSignalReachesACommandWithoutHandler(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	process, err := sandbox.Start(Command{
		Container: "main", Arguments: []string{"sleep", "1000"}, Environment: []string{path}, Output: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit := process.Wait(); exit.Code != 143 {
		t.Errorf("%+v", exit)
	}
}

func TestNothingOutlivesTheFirstProcess(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	script := "setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000' & echo started"
	if _, output := runShell(t, sandbox, script); output != "started\n" {
		t.Errorf("output %q", output)
	}
	first := sandbox.(*namespacesSandbox).first.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) { // one that has ended and is not yet reaped has no command
		if command, _ := os.ReadFile("/proc/" + child + "/cmdline"); len(command) > 0 {
			t.Errorf("left running: %q", command)
		}
	}
}

func TestCommandThatDoesNotExist(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	for program, expected := range map[string]string{
		"nothing-like-it":  `exec: "nothing-like-it": executable file not found in $PATH`,
		"/nothing/like/it": `exec: "/nothing/like/it": stat /nothing/like/it: no such file or directory`,
		"/etc/passwd":      `exec: "/etc/passwd": permission denied`,
	} {
		_, err := sandbox.Start(Command{
			Container: "main", Arguments: []string{program}, Environment: []string{path}, Output: io.Discard,
		})
		if err == nil || err.Error() != expected {
			t.Errorf("%s: %v", program, err)
		}
	}
}

func TestMemoryLimitIsReal(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	command := shell("exec tail /dev/zero", io.Discard)
	command.MemoryLimit = 32 << 20
	process, err := sandbox.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	if exit := process.Wait(); exit != (Exit{Code: 137, Signal: 9, OOMKilled: true}) {
		t.Errorf("%+v", exit)
	}
	command.Arguments = []string{"sh", "-c", "kill -KILL $$"}
	if process, err = sandbox.Start(command); err != nil {
		t.Fatal(err)
	}
	if exit := process.Wait(); exit != (Exit{Code: 137, Signal: 9}) {
		t.Errorf("killed, but not for memory: %+v", exit)
	}
}

func TestPodsReachEachOtherAndTheMachineReachesThem(t *testing.T) {
	host := newTestHost(t)
	a, b := newTestSandbox(t, host, "pod-a"), newTestSandbox(t, host, "pod-b")
	server := shell(`exec perl -MSocket -e '
		socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(80, INADDR_ANY)) or die $!; listen(S, 5);
		$| = 1; print "listening\n"; while (accept(C, S)) { print C "hello\n"; close C }'`, nil)
	for _, sandbox := range []Sandbox{a, b} { // the same port in both
		output := &safeBuffer{}
		server.Output = output
		if _, err := sandbox.Start(server); err != nil {
			t.Fatal(err)
		}
		output.await("listening")
	}
	connection, err := a.Dial(context.Background(), 80)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(connection); string(answer) != "hello\n" {
		t.Errorf("the machine got %q, %v", answer, err)
	}
	client := fmt.Sprintf(`perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0);
		connect(S, sockaddr_in(80, inet_aton("%s"))) or die $!; print <S>'`, b.Address())
	command := shell(client, &safeBuffer{})
	command.Container = "client"
	process, err := a.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	if exit := process.Wait(); exit.Code != 0 || command.Output.(*safeBuffer).String() != "hello\n" {
		t.Errorf("the other pod got code %d, %q", exit.Code, command.Output)
	}
}

func TestServiceAddressIsLocalToTheFabric(t *testing.T) {
	host := newTestHost(t)
	address := netip.AddrPortFrom(testServices.Addr().Next(), 443)
	if _, err := net.DialTimeout("tcp", address.String(), 5*time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without a listener: %v", err)
	}
	listener, err := host.fabric.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.DialTimeout("tcp", address.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	connection.Close()
}

func TestExecRunsBesideTheCommand(t *testing.T) {
	sandbox := newTestSandbox(t, newTestHost(t), "pod-a")
	output := &safeBuffer{}
	process, err := sandbox.Start(shell("echo inside > /mark; echo ready; exec sleep 1000", output))
	if err != nil {
		t.Fatal(err)
	}
	output.await("ready")
	var out, problems bytes.Buffer
	code, err := process.Exec(context.Background(), []string{"sh", "-c", "cat /mark - ; hostname; echo bad >&2; exit 4"},
		strings.NewReader("input\n"), &out, &problems)
	if err != nil || code != 4 || out.String() != "inside\ninput\npod-a\n" || problems.String() != "bad\n" {
		t.Errorf("code %d, error %v, output %q and %q", code, err, out.String(), problems.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := process.Exec(ctx, []string{"sleep", "1000"}, nil, io.Discard, io.Discard); err != context.DeadlineExceeded {
		t.Errorf("a command that takes too long: %v", err)
	}
}
