package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// GuardArgument is the first argument of this program when it guards a container's process.
//
// The guard leads the process group of a container, and kills what the command left behind when the command ends, when
// it is told to, or when the process node ends: it learns of both from a pipe that closes, whatever the system.
const GuardArgument = "guard"

const (
	lifeline  = 3 // the guard's end of a pipe that the process node holds open while the container is to live
	reporting = 4
)

type guardReport struct {
	Started bool
	Error   string
	Code    int
	Signal  int
}

// RunGuard is the guard: it runs the command that follows GuardArgument, and does not return.
func RunGuard(arguments []string) {
	reports := json.NewEncoder(os.NewFile(reporting, "report"))
	syscall.CloseOnExec(lifeline)
	syscall.CloseOnExec(reporting)
	adoptOrphans()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2)
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		_ = reports.Encode(guardReport{Error: err.Error()})
		os.Exit(1)
	}
	_ = reports.Encode(guardReport{Started: true})
	go func() {
		for received := range signals {
			_ = command.Process.Signal(received)
		}
	}()
	go func() {
		_, _ = os.NewFile(lifeline, "lifeline").Read(make([]byte, 1))
		end()
	}()
	_ = command.Wait()
	report := guardReport{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)} // killed, and waited for, by end
	if state := command.ProcessState; state != nil {
		status, _ := state.Sys().(syscall.WaitStatus)
		report = guardReport{Code: status.ExitStatus()}
		if status.Signaled() {
			report = guardReport{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
		}
	}
	killDescendants()
	_ = reports.Encode(report)
	end()
}

// end kills what is left of the command, and this process with it.
func end() {
	killDescendants()
	_ = syscall.Kill(0, syscall.SIGKILL)
}

// place is where a container's commands run.
type place struct {
	environment []string
	folder      string
}

// guarded is a command that runs under a guard.
type guarded struct {
	command *exec.Cmd
	life    *os.File
	ended   chan struct{}
	exit    Exit
}

// start runs a command under a guard; it returns once the command runs, or with why it cannot.
func (p place) start(arguments []string, stdin, stdout, stderr *os.File) (*guarded, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	guardLife, life, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer guardLife.Close()
	reports, guardReports, err := os.Pipe()
	if err != nil {
		life.Close()
		return nil, err
	}
	command := exec.Command(self, append([]string{GuardArgument}, arguments...)...)
	command.Env, command.Dir = p.environment, p.folder
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.ExtraFiles = []*os.File{guardLife, guardReports}
	if stdin != nil {
		command.Stdin = stdin
	}
	command.Stdout, command.Stderr = stdout, stderr
	err = command.Start()
	guardReports.Close()
	if err != nil {
		life.Close()
		reports.Close()
		return nil, err
	}
	process := &guarded{command: command, life: life, ended: make(chan struct{})}
	decoder := json.NewDecoder(bufio.NewReader(reports))
	var first guardReport
	if err := decoder.Decode(&first); err != nil || !first.Started {
		process.kill()
		_ = command.Wait()
		reports.Close()
		return nil, errors.New(first.Error)
	}
	go process.follow(decoder, reports)
	return process, nil
}

func (g *guarded) follow(decoder *json.Decoder, reports io.Closer) {
	defer close(g.ended)
	defer g.life.Close()
	defer reports.Close()
	var last guardReport
	if err := decoder.Decode(&last); err != nil { // the guard was killed with its group
		last = guardReport{Code: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL)}
	}
	_ = g.command.Wait()
	g.exit = Exit{Code: last.Code, Signal: last.Signal}
}

func (g *guarded) wait() Exit {
	<-g.ended
	return g.exit
}

func (g *guarded) signal(signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		g.kill()
		return nil
	}
	select {
	case <-g.ended:
		return nil // the number may be another process's by now
	default:
	}
	pid := g.command.Process.Pid
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot send signal %d to process %d: %w", signal, pid, err)
	}
	return nil
}

// kill lets the guard kill all of the container: it alone finds what left its process group. It can be called again.
func (g *guarded) kill() { g.life.Close() }

// capture is a pipe for what a command writes, as a process that outlives its container must not hold it open for ever.
type capture struct {
	reader, writer *os.File
	copied         chan struct{}
}

func newCapture(output io.Writer) (*capture, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	captured := &capture{reader, writer, make(chan struct{})}
	go func() {
		defer close(captured.copied)
		_, _ = io.Copy(output, reader)
	}()
	return captured, nil
}

func (c *capture) started() { c.writer.Close() }

// complete waits until all is copied, but not longer than the time given.
func (c *capture) complete(limit time.Duration) {
	select {
	case <-c.copied:
	case <-time.After(limit):
	}
	c.reader.Close()
	<-c.copied
}

// abandon gives up a pipe that no command got.
func (c *capture) abandon() {
	c.started()
	c.complete(0)
}

func (p *sharedProcess) Exec(
	ctx context.Context, arguments []string, stdin io.Reader, stdout, stderr io.Writer,
) (int, error) {
	out, err := newCapture(stdout)
	if err != nil {
		return 0, err
	}
	problems := out
	if stderr != stdout { // one writer gets one stream, in the order in which it was written
		if problems, err = newCapture(stderr); err != nil {
			out.abandon()
			return 0, err
		}
	}
	var input *os.File
	if stdin != nil {
		reader, writer, err := os.Pipe()
		if err != nil {
			out.abandon()
			problems.abandon()
			return 0, err
		}
		defer reader.Close()
		input = reader
		go func() {
			defer writer.Close()
			_, _ = io.Copy(writer, stdin)
		}()
	}
	running, err := p.place.start(p.paths.all(arguments), input, out.writer, problems.writer)
	out.started()
	problems.started()
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, running.kill)()
	exit := running.wait()
	out.complete(time.Second)
	problems.complete(time.Second)
	return exit.Code, ctx.Err()
}
