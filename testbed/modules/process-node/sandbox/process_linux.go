package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stepworks.dev/testbed/process-node/internal/cgroup"
)

// outputDelay is how long the output of a process may be held open by others after its end.
const outputDelay = time.Second

type namespacesProcess struct {
	sandbox     *namespacesSandbox
	child       *exec.Cmd
	root        string
	environment []string
	folder      string
	group       *cgroup.Group
	spaces      *spaces
	output      *capture
	ended       chan struct{}
	exit        Exit
}

func (s *namespacesSandbox) Start(command Command) (Process, error) {
	process := &namespacesProcess{
		sandbox: s, root: filepath.Join(s.pod.Folder, "roots", command.Container),
		environment: command.Environment, folder: command.Folder, ended: make(chan struct{}),
	}
	if err := os.RemoveAll(process.root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(process.root, 0o755); err != nil {
		return nil, err
	}
	if err := process.start(command); err != nil {
		process.clean()
		return nil, err
	}
	go process.watch()
	return process, nil
}

func (p *namespacesProcess) start(command Command) (err error) {
	order := containerOrder{
		Arguments: command.Arguments, Environment: command.Environment, Folder: command.Folder, Mounts: command.Mounts,
		Pod: p.sandbox.pod.Folder, Root: p.root, Etc: p.sandbox.etc(), Shm: p.sandbox.shm(),
	}
	if command.MemoryLimit > 0 {
		name := p.sandbox.pod.UID + "-" + command.Container
		if p.group, err = p.sandbox.host.cgroups.New(name, command.MemoryLimit); err != nil {
			return fmt.Errorf("bounding the container's memory: %w", err)
		}
		order.Cgroup = p.group.Join()
	}
	if p.output, err = newCapture(command.Output); err != nil {
		return err
	}
	defer p.output.started()
	p.child = exec.Command("/proc/self/exe", ContainerArgument)
	p.child.Stdout, p.child.Stderr = p.output.writer, p.output.writer
	p.child.Dir = "/"
	p.child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Setsid: true}
	return p.sandbox.host.spawner.visit(p.sandbox.spaces, func() error {
		if err := p.sandbox.mountMemory(command.Mounts); err != nil {
			return err
		}
		orders, err := startChild(p.child, order, p.openSpaces)
		if err == nil {
			orders.Close()
		}
		return err
	})
}

// openSpaces opens the namespaces in which more commands can be run beside the first process.
func (p *namespacesProcess) openSpaces() (err error) {
	p.spaces, err = openSpaces(fmt.Sprintf("/proc/%d", p.child.Process.Pid), podSpaces)
	return err
}

// watch waits for the end of the first process, then ends what it left running.
func (p *namespacesProcess) watch() {
	_ = p.child.Wait()
	p.exit = exitOf(p.child.ProcessState)
	p.killRest()
	p.output.complete(outputDelay)
	p.exit.OOMKilled = p.group != nil && p.group.OOMKilled()
	p.clean()
	close(p.ended)
}

func exitOf(state *os.ProcessState) Exit {
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return Exit{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
	}
	return Exit{Code: status.ExitStatus()}
}

func (p *namespacesProcess) clean() {
	if p.spaces != nil {
		p.sandbox.host.spawner.close(p.spaces)
	}
	if p.group != nil {
		p.group.Remove()
	}
	_ = os.RemoveAll(p.root)
}

func (p *namespacesProcess) Wait() Exit {
	<-p.ended
	return p.exit
}

func (p *namespacesProcess) Signal(signal syscall.Signal) error {
	if err := p.child.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the first process; watch ends the others.
func (p *namespacesProcess) Kill() error { return p.Signal(syscall.SIGKILL) }

// killRest ends all processes that are in the container's mount namespace: only those that it started are.
func (p *namespacesProcess) killRest() {
	own, err := p.spaces.files["mnt"].Stat()
	if err != nil {
		return
	}
	for range 500 {
		left := processesIn(own)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func processesIn(mountNamespace os.FileInfo) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if other, err := os.Stat("/proc/" + entry.Name() + "/ns/mnt"); err == nil && os.SameFile(mountNamespace, other) {
			found = append(found, pid)
		}
	}
	return found
}

func (p *namespacesProcess) Exec(
	ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer,
) (int, error) {
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	command.Env, command.Dir = p.environment, p.folder
	if command.Dir == "" {
		command.Dir = "/"
	}
	command.Stdout, command.Stderr, command.WaitDelay = stdout, stderr, outputDelay
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it ends with the pod's first process at the latest
	var input io.WriteCloser
	if stdin != nil {
		// Not command.Stdin: Wait would wait for a reader that never ends.
		var err error
		if input, err = command.StdinPipe(); err != nil {
			return 0, err
		}
	}
	err := p.sandbox.host.spawner.visit(p.spaces, func() error {
		path, err := lookPath(arguments[0], command.Dir, command.Env)
		if err != nil {
			return err
		}
		command.Path, command.Err = path, nil
		return command.Start()
	})
	if err != nil {
		return 0, err
	}
	if input != nil {
		go func() {
			_, _ = io.Copy(input, stdin)
			input.Close()
		}()
	}
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = ctx.Err()
	}
	return exitOf(command.ProcessState).Code, err
}
