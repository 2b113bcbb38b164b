package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A container's first process is this program again, which prepares its surroundings and becomes the command. It is
// told what to do on one file descriptor, and reports on the other why it failed; the end of that one is success.
const (
	childSpec   = 3
	childReport = 4
)

// containerOrder is what the started copy of this program is told.
type containerOrder struct {
	Arguments   []string
	Environment []string
	Folder      string
	Mounts      []Mount
	// Pod is the pod's folder, in which nothing is for the container to see but what is mounted from it.
	Pod string
	// Root is a folder of the container's own, for its root file system.
	Root string
	// Etc holds the files that replace those of the machine in /etc.
	Etc string
	// Shm is the folder that the pod's containers share as /dev/shm.
	Shm string
	// Cgroup is the file that takes the process into its control group; empty for none.
	Cgroup string
}

func receiveOrder(order any) error {
	return json.NewDecoder(os.NewFile(childSpec, "order")).Decode(order)
}

// report tells the process node why the container did not start, and ends.
func report(err error) {
	_, _ = io.WriteString(os.NewFile(childReport, "report"), err.Error())
	os.Exit(128)
}

// await returns nil when the child became its command.
func await(reports io.Reader) error {
	failure, err := io.ReadAll(reports)
	if err == nil && len(failure) > 0 {
		err = errors.New(string(failure))
	}
	return err
}

// startChild starts this program again as `role`, gives it its order and waits until it is what it is to become.
// born is called while the child still waits for its order. The pipe of the order is returned open: its end tells the
// child that this process has ended.
func startChild(child *exec.Cmd, order any, born func() error) (*os.File, error) {
	orderEnd, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		orderEnd.Close()
		orders.Close()
		return nil, err
	}
	defer reports.Close()
	child.ExtraFiles = []*os.File{orderEnd, reportEnd}
	err = child.Start()
	orderEnd.Close()
	reportEnd.Close()
	started := err == nil
	if err == nil {
		err = born()
	}
	if err == nil {
		err = json.NewEncoder(orders).Encode(order)
	}
	if err == nil {
		err = await(reports)
	}
	if err == nil {
		return orders, nil
	}
	orders.Close()
	if started {
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	return nil, err
}

// lookPath finds a program as a shell in the container would.
func lookPath(program, dir string, env []string) (string, error) {
	notFound := fmt.Errorf("exec: %q: executable file not found in $PATH", program)
	if strings.Contains(program, "/") {
		path := program
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return "", fmt.Errorf("exec: %q: stat %s: no such file or directory", program, program)
		case info.IsDir():
			return "", fmt.Errorf("exec: %q: is a directory", program)
		case info.Mode()&0o111 == 0:
			return "", fmt.Errorf("exec: %q: permission denied", program)
		}
		return path, nil
	}
	for _, folder := range filepath.SplitList(variable(env, "PATH")) {
		path := filepath.Join(folder, program)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", notFound
}

func variable(env []string, name string) string {
	value := ""
	for _, pair := range env {
		if key, found, ok := strings.Cut(pair, "="); ok && key == name {
			value = found
		}
	}
	return value
}

// become replaces this process by the command; it returns only if that fails.
func become(order containerOrder) error {
	dir := order.Folder
	if dir == "" {
		dir = "/"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mkdir of the working directory %s: %v", dir, err)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("chdir to cwd (%q) failed: %v", dir, err)
	}
	path, err := lookPath(order.Arguments[0], dir, order.Environment)
	if err != nil {
		return err
	}
	if order.Cgroup != "" {
		if err := os.WriteFile(order.Cgroup, []byte("0"), 0); err != nil {
			return fmt.Errorf("joining the control group: %w", err)
		}
	}
	err = syscall.Exec(path, order.Arguments, order.Environment)
	return fmt.Errorf("exec: %q: %v", order.Arguments[0], err)
}
