package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The guard of a process is this program again.
func init() {
	if len(os.Args) > 1 && os.Args[1] == GuardArgument {
		RunGuard(os.Args[2:])
	}
}

func newSharedSandbox(t *testing.T, host Host, ports ...int) Sandbox {
	t.Helper()
	made, err := host.NewSandbox(Pod{Namespace: "n", Name: "p", Folder: t.TempDir(), Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Close(); err != nil {
			t.Error(err)
		}
	})
	return made
}

func startShared(t *testing.T, place Sandbox, script string, mounts ...Mount) (Process, *bytes.Buffer) {
	t.Helper()
	output := &bytes.Buffer{}
	process, err := place.Start(Command{
		Container: "c", Arguments: []string{"sh", "-c", script}, Environment: []string{"PATH=" + os.Getenv("PATH"), "V=/data/v"},
		Mounts: mounts, Output: output,
	})
	if err != nil {
		t.Fatal(err)
	}
	return process, output
}

func TestSharedProcessEndsAsItsCommandDid(t *testing.T) {
	place := newSharedSandbox(t, NewSharedHost("127.0.0.1", "6443"))
	for script, expected := range map[string]Exit{
		"exit 0": {}, "exit 7": {Code: 7}, "kill -TERM $$": {Code: 143, Signal: 15}, "kill -KILL $$": {Code: 137, Signal: 9},
	} {
		process, _ := startShared(t, place, script)
		if exit := process.Wait(); exit != expected {
			t.Errorf("%q ends with %+v, not %+v", script, exit, expected)
		}
	}
}

func TestSharedProcessThatCannotStart(t *testing.T) {
	place := newSharedSandbox(t, NewSharedHost("127.0.0.1", "6443"))
	_, err := place.Start(Command{Arguments: []string{"no-such-program"}, Environment: []string{"PATH=/bin"}, Output: os.Stderr})
	if err == nil || !strings.Contains(err.Error(), `"no-such-program": executable file not found`) {
		t.Errorf("the error is %v", err)
	}
}

func TestSharedProcessTakesItsChildrenWithIt(t *testing.T) {
	place := newSharedSandbox(t, NewSharedHost("127.0.0.1", "6443"))
	commands := []string{"sleep 1000"}
	if runtime.GOOS == "linux" {
		commands = append(commands, "setsid sleep 1000", "setsid sh -c '(setsid sleep 1000 &)'")
	}
	for _, command := range commands {
		for ending, code := range map[string]int{"exit 3": 3, "exec sleep 1000": 137} {
			path := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			// The child holds an end of the pipe: the end of what can be read says that it is gone.
			process, output := startShared(t, place, "exec 9>"+path+"; "+command+" & echo started; "+ending)
			reader, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			if code == 137 {
				if err := process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if exit := process.Wait(); exit.Code != code || (code == 3 && output.String() != "started\n") {
				t.Errorf("%s; %s: it ended with %+v and wrote %q", command, ending, exit, output)
			}
			if count, err := reader.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s; %s: read %d bytes: %v", command, ending, count, err)
			}
		}
	}
}

func TestSharedProcessTakesSignalsAndExec(t *testing.T) {
	place := newSharedSandbox(t, NewSharedHost("127.0.0.1", "6443"))
	process, output := startShared(t, place, "trap 'echo asked; exit 5' TERM; touch trapped; while :; do sleep 0.01; done")
	var out bytes.Buffer
	script := "until test -e trapped; do sleep 0.01; done; cat; exit 4" // both are in the pod's folder
	code, err := process.Exec(t.Context(), []string{"sh", "-c", script}, strings.NewReader("in"), &out, &out)
	if err != nil || code != 4 || out.String() != "in" {
		t.Errorf("exec: %d, %q, %v", code, &out, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := process.Exec(cancelled, []string{"sleep", "1000"}, nil, &out, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("an exec that is called off: %v", err)
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit := process.Wait(); exit.Code != 5 || output.String() != "asked\n" {
		t.Errorf("it ended with %+v and wrote %q", exit, output)
	}
}

func TestSharedPortsAreOnePods(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := listener.Addr().(*net.TCPAddr).Port
	host := NewSharedHost("127.0.0.1", "6443")
	pod := Pod{Namespace: "n", Name: "second", Folder: t.TempDir(), Ports: []int{taken}}
	var problem *PortInUseError
	if _, err := host.NewSandbox(pod); !errors.As(err, &problem) || problem.Holder != "another process of this machine" {
		t.Errorf("a port that another process has: %v", err)
	}
	listener.Close()
	first := newSharedSandbox(t, host, taken)
	if _, err := host.NewSandbox(pod); !errors.As(err, &problem) || problem.Holder != "pod n/p" {
		t.Errorf("a port that another pod has: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	newSharedSandbox(t, host, taken)
}

func TestSharedPathsOfVolumes(t *testing.T) {
	paths := newRewriter([]Mount{{Source: "/m/data", Target: "/data"}, {Source: "/m/inner", Target: "/data/inner/"}})
	for text, expected := range map[string]string{
		"/data": "/m/data", "/data/x": "/m/data/x", "--in=/data/x,/data": "--in=/m/data/x,/m/data", "cat '/data/inner/y'": "cat '/m/inner/y'",
		"/database": "/database", "/my/data": "/my/data", "/data-old": "/data-old", "file:///data/x": "file:///data/x",
		"V=/data": "V=/m/data", "": "",
	} {
		if rewritten := paths.one(text); rewritten != expected {
			t.Errorf("%q becomes %q, not %q", text, rewritten, expected)
		}
	}
}

func TestSharedNamesOfPeers(t *testing.T) {
	place := &sharedSandbox{pod: Pod{Namespace: "team", Subdomain: "train"}}
	for variable, expected := range map[string]string{
		"PET_MASTER_ADDR=job-node-0-0.train":       "PET_MASTER_ADDR=127.0.0.1",
		"A=job-0.train:29400":                      "A=127.0.0.1:29400",
		"A=http://model.team.svc.cluster.local/v2": "A=http://127.0.0.1/v2",
		"A=tcp://job-0.train.team.svc:1":           "A=tcp://127.0.0.1:1",
		"A=model.other.svc":                        "A=model.other.svc",
		"A=python -m job.train":                    "A=python -m job.train",
		"A=job.training":                           "A=job.training",
		"A=":                                       "A=",
	} {
		if resolved := place.resolve([]string{variable})[0]; resolved != expected {
			t.Errorf("%q becomes %q, not %q", variable, resolved, expected)
		}
	}
}

func TestSharedVolume(t *testing.T) {
	folder := t.TempDir()
	place := newSharedSandbox(t, NewSharedHost("127.0.0.1", "6443"))
	process, output := startShared(t, place, "echo written > $V; cat /data/v", Mount{Source: folder, Target: "/data"})
	if exit := process.Wait(); exit.Code != 0 || output.String() != "written\n" {
		t.Errorf("it ended with %+v and wrote %q", exit, output)
	}
	if content, err := os.ReadFile(filepath.Join(folder, "v")); err != nil || string(content) != "written\n" {
		t.Errorf("the volume has %q: %v", content, err)
	}
}
