package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// runContainerRole is the first process of a container in namespaces of its own: it builds the root file system, enters
// it, and becomes the command.
func runContainerRole() {
	unix.CloseOnExec(childSpec)
	unix.CloseOnExec(childReport)
	var order containerOrder
	if err := receiveOrder(&order); err != nil {
		report(err)
	}
	report(runContainer(order))
}

func runContainer(order containerOrder) error {
	if order.Cgroup != "" { // it is not in the new root, so it is opened before
		file, err := os.OpenFile(order.Cgroup, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("opening the control group: %w", err)
		}
		order.Cgroup = fmt.Sprintf("/proc/self/fd/%d", file.Fd())
		defer file.Close()
	}
	trees, err := openTrees(order)
	if err != nil {
		return err
	}
	root, err := buildRoot(order)
	if err != nil {
		return err
	}
	if err := enter(root); err != nil {
		return err
	}
	for _, tree := range trees {
		if err := tree.attach(); err != nil {
			return fmt.Errorf("mounting %s: %w", tree.target, err)
		}
	}
	return become(order)
}

// tree is a file or folder of the machine that is to be mounted. It is mounted only in the new root, where symbolic
// links of mount paths (as /var/run is one) lead to places of the container and not of the machine.
type tree struct {
	file   int
	target string
}

// openTrees takes hold of all that a container sees beside its root, in the order in which it is mounted.
func openTrees(order containerOrder) ([]tree, error) {
	visible, err := visibleMounts(order.Pod)
	if err != nil {
		return nil, err
	}
	var trees []tree
	for _, mount := range visible {
		if opened, err := openTree(mount); err == nil { // one that root may not enter is of no use to a pod either
			trees = append(trees, opened)
		}
	}
	for _, mount := range order.Mounts {
		opened, err := openTree(mount)
		if err != nil {
			return nil, fmt.Errorf("mounting %s at %s: %w", mount.Source, mount.Target, err)
		}
		trees = append(trees, opened)
	}
	sort.SliceStable(trees, func(i, j int) bool { return trees[i].target < trees[j].target })
	return trees, nil
}

func openTree(mount Mount) (tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_RECURSIVE)
	file, err := unix.OpenTree(unix.AT_FDCWD, mount.Source, flags)
	if err == nil && mount.ReadOnly {
		attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		err = unix.MountSetattr(file, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attributes)
	}
	return tree{file, mount.Target}, err
}

func (t tree) attach() error {
	var status unix.Stat_t
	if err := unix.Fstat(t.file, &status); err != nil {
		return err
	}
	if err := makeTarget(t.target, status.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
		return err
	}
	return unix.MoveMount(t.file, "", unix.AT_FDCWD, t.target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

// enter makes a folder the root, and lets go of the machine's.
func enter(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("entering the container's root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the machine's root: %w", err)
	}
	return os.Chdir("/")
}

// buildRoot lays the container's own writable folder over the machine's root, which stays as it is.
func buildRoot(order containerOrder) (string, error) {
	upper, work, merged := filepath.Join(order.Root, "upper"), filepath.Join(order.Root, "work"), filepath.Join(order.Root, "merged")
	overlay := func() error {
		for _, folder := range []string{upper, work, merged} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", upper, work)
		return unix.Mount("overlay", merged, "overlay", 0, options)
	}
	if err := overlay(); err != nil {
		// Some file systems cannot hold the upper layer (another overlay cannot); memory can.
		if err := unix.Mount("tmpfs", order.Root, "tmpfs", 0, "mode=755"); err != nil {
			return "", fmt.Errorf("mounting memory for the container's root: %w", err)
		}
		if err := overlay(); err != nil {
			return "", fmt.Errorf("laying an overlay over the root: %w", err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(merged, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("sysfs", filepath.Join(merged, "sys"), "sysfs", unix.MS_NOSUID|unix.MS_RDONLY, ""); err != nil {
		return "", fmt.Errorf("mounting /sys: %w", err)
	}
	// What programs of the machine keep in /run, their sockets for example, is not for a container.
	if err := unix.Mount("tmpfs", filepath.Join(merged, "run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return "", fmt.Errorf("mounting /run: %w", err)
	}
	if err := buildDevices(filepath.Join(merged, "dev"), order.Shm); err != nil {
		return "", err
	}
	return merged, writeNetworkFiles(order, filepath.Join(merged, "etc"))
}

// visibleMounts lists what is mounted below the machine's root and holds files that programs need: a virtual
// environment may be there. Kernel file systems, those of run-time state and the pod's own are left out.
func visibleMounts(pod string) ([]Mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	skippedTypes := []string{
		"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl",
		"hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "sysfs", "tracefs",
	}
	skippedFolders := []string{"/proc", "/sys", "/dev", "/run", "/boot", "/var/lib/docker", "/snap", pod}
	found := map[string]bool{}
	for _, line := range strings.Split(string(content), "\n") {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) == 0 {
			continue
		}
		path := unescape(fields[4])
		skipped := path == "/" || slices.Contains(skippedTypes, kind[0])
		for _, folder := range skippedFolders {
			skipped = skipped || path == folder || strings.HasPrefix(path, folder+"/")
		}
		if !skipped {
			found[path] = true
		}
	}
	mounts := make([]Mount, 0, len(found))
	for path := range found {
		mounts = append(mounts, Mount{Source: path, Target: path, ReadOnly: true})
	}
	return mounts, nil
}

func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// bind shows a device or folder of the machine in another place.
func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", source, err)
	}
	return nil
}

// makeTarget makes a file or folder to mount on, where there is none.
func makeTarget(path string, isFolder bool) error {
	if isFolder {
		return os.MkdirAll(path, 0o755)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o644)
}

func buildDevices(dev, shm string) error {
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755,size=65536k"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	names := []string{"null", "zero", "full", "random", "urandom", "tty", "fuse"}
	accelerators, _ := filepath.Glob("/dev/nvidia*")
	for _, path := range accelerators {
		names = append(names, filepath.Base(path))
	}
	for _, name := range names {
		source, target := filepath.Join("/dev", name), filepath.Join(dev, name)
		info, err := os.Stat(source)
		if err != nil {
			continue
		}
		if err := errors.Join(makeTarget(target, info.IsDir()), bind(source, target)); err != nil {
			return err
		}
	}
	links := map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	pts, shared := filepath.Join(dev, "pts"), filepath.Join(dev, "shm")
	if err := errors.Join(os.Mkdir(pts, 0o755), os.Mkdir(shared, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("devpts", pts, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("mounting /dev/pts: %w", err)
	}
	return bind(shm, shared)
}

// writeNetworkFiles replaces the machine's files of names by the pod's. They may be links to files of the machine.
func writeNetworkFiles(order containerOrder, etc string) error {
	files, err := os.ReadDir(order.Etc)
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(order.Etc, file.Name()))
		if err != nil {
			return err
		}
		target := filepath.Join(etc, file.Name())
		if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
