// Package cgroup bounds the memory of a container by the kernel's control groups, version 1 or 2, whichever has the
// memory controller.
package cgroup

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	mountPoint = "/sys/fs/cgroup"
	prefix     = "process-node-"
)

// Controller makes the groups of one process node.
type Controller struct {
	root string
	v2   bool
}

// Find returns the controller of the process node that keeps its state in a folder. It fails where this process may
// not make groups with a memory limit.
func Find(state string) (*Controller, error) {
	name := rootName(state)
	controllers, err := os.ReadFile(filepath.Join(mountPoint, "cgroup.controllers"))
	if err == nil && strings.Contains(string(controllers), "memory") {
		control := filepath.Join(mountPoint, "cgroup.subtree_control")
		root := filepath.Join(mountPoint, name)
		if err := errors.Join(os.WriteFile(control, []byte("+memory"), 0), os.MkdirAll(root, 0o755)); err != nil {
			return nil, err
		}
		err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0)
		return &Controller{root: root, v2: true}, err
	}
	version1 := filepath.Join(mountPoint, "memory")
	if _, err := os.Stat(filepath.Join(version1, "memory.limit_in_bytes")); err != nil {
		return nil, errors.New("no memory controller is mounted below " + mountPoint)
	}
	root := filepath.Join(version1, name)
	return &Controller{root: root}, os.MkdirAll(root, 0o755)
}

// rootName says whose groups they are: the process node that keeps its state in this folder, as this process.
func rootName(state string) string {
	return fmt.Sprintf("%s%s-%s-%d", prefix, digest(state), numbering(), os.Getpid())
}

func digest(state string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(state)))[:12] }

// numbering identifies the PID namespace: only there the number of a process says which one it is. Control groups are
// often seen from several.
func numbering() string {
	name, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "unknown"
	}
	return strings.Trim(name, "pid:[]")
}

// Group is the control group of one run of a container.
type Group struct {
	folder string
	v2     bool
}

// New makes a group with a limit in bytes.
func (c *Controller) New(name string, limit int64) (*Group, error) {
	group := &Group{filepath.Join(c.root, name), c.v2}
	if err := os.Mkdir(group.folder, 0o755); err != nil {
		return nil, err
	}
	value := []byte(strconv.FormatInt(limit, 10))
	write := func(file string, content []byte) error {
		return os.WriteFile(filepath.Join(group.folder, file), content, 0)
	}
	if c.v2 {
		// The whole container ends when one of its processes is killed for memory, as with a kubelet.
		_ = write("memory.oom.group", []byte("1"))
		_ = write("memory.swap.max", []byte("0"))
		return group, write("memory.max", value)
	}
	if err := write("memory.limit_in_bytes", value); err != nil {
		return group, err
	}
	_ = write("memory.memsw.limit_in_bytes", value) // absent where the kernel does not account swap
	return group, nil
}

// Join names the file that takes a process into the group.
func (g *Group) Join() string { return filepath.Join(g.folder, "cgroup.procs") }

// OOMKilled tells whether a process of the group was killed for memory.
func (g *Group) OOMKilled() bool {
	file := "memory.oom_control"
	if g.v2 {
		file = "memory.events"
	}
	content, err := os.ReadFile(filepath.Join(g.folder, file))
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(content), "\n") {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return count != "0"
		}
	}
	return false
}

// Remove deletes the group; its processes have ended.
func (g *Group) Remove() { remove(g.folder) }

// Close deletes the groups of the process node.
func (c *Controller) Close() { removeTree(c.root) }

// Sweep deletes what the killed process node left that kept its state in a folder, and what others left whose process is
// gone. Their processes ended with them.
func Sweep(state string) {
	for _, root := range append(Remains(state), orphans()...) {
		removeTree(root)
	}
}

// Remains lists the folders of groups of the process nodes that kept their state in a folder.
func Remains(state string) []string { return roots(digest(state) + "-*") }

// orphans lists the folders of groups of process nodes of this PID namespace that do not run any more.
func orphans() []string {
	var found []string
	for _, root := range roots("*-" + numbering() + "-*") {
		pid, err := strconv.Atoi(root[strings.LastIndexByte(root, '-')+1:])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			found = append(found, root)
		}
	}
	return found
}

func roots(pattern string) []string {
	var found []string
	for _, parent := range []string{mountPoint, filepath.Join(mountPoint, "memory")} {
		matches, _ := filepath.Glob(filepath.Join(parent, prefix+pattern))
		found = append(found, matches...)
	}
	return found
}

func removeTree(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			remove(filepath.Join(root, entry.Name()))
		}
	}
	remove(root)
}

// remove waits a little for the kernel, which keeps a group busy until it is done with its last process.
func remove(folder string) {
	for range 100 {
		if err := os.Remove(folder); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
