package sandbox

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// spawner starts processes on one thread that lives as long as this process. Two things need that: the kernel ends a
// pod's first process when the *thread* that started it ends, and a thread can visit the namespaces of a pod.
type spawner struct{ work chan func() }

var namespaceFlags = map[string]int{
	"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "net": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID,
	"mnt": unix.CLONE_NEWNS,
}

func newSpawner() (*spawner, error) {
	s := &spawner{work: make(chan func())}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// Threads share their root and working directory, and one that shares them cannot change mount namespaces.
		err := unix.Unshare(unix.CLONE_FS)
		started <- err
		if err != nil {
			return
		}
		for do := range s.work {
			do()
		}
	}()
	return s, <-started
}

// run runs a function on the thread.
func (s *spawner) run(do func() error) error {
	finished := make(chan error, 1)
	s.work <- func() { finished <- do() }
	return <-finished
}

// visit runs a function on the thread while it is in other namespaces.
func (s *spawner) visit(spaces *spaces, do func() error) error {
	return s.run(func() error {
		home, err := openSpaces("/proc/thread-self", spaces.names())
		if err != nil {
			return err
		}
		defer home.close()
		defer func() {
			if err := home.enter(); err != nil {
				panic(fmt.Sprintf("the way back from a pod's namespaces is closed: %v", err))
			}
		}()
		if err := spaces.enter(); err != nil {
			return err
		}
		return do()
	})
}

// close lets go of namespaces when no function is in them.
func (s *spawner) close(spaces *spaces) {
	_ = s.run(func() error {
		spaces.close()
		return nil
	})
}

// spaces are open namespaces, which live on while they are open.
type spaces struct {
	order []string
	files map[string]*os.File
}

func openSpaces(process string, names []string) (*spaces, error) {
	opened := &spaces{order: names, files: map[string]*os.File{}}
	for _, name := range names {
		file, err := os.Open(process + "/ns/" + name)
		if err != nil {
			opened.close()
			return nil, err
		}
		opened.files[name] = file
	}
	return opened, nil
}

func (s *spaces) names() []string { return s.order }

func (s *spaces) enter() error {
	for _, name := range s.order {
		if err := unix.Setns(int(s.files[name].Fd()), namespaceFlags[name]); err != nil {
			return fmt.Errorf("entering the %s namespace: %w", name, err)
		}
	}
	return nil
}

func (s *spaces) close() {
	for _, file := range s.files {
		file.Close()
	}
}
