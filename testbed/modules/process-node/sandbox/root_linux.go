package sandbox

import (
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
	root, err := buildRoot(order)
	if err != nil {
		return err
	}
	sort.SliceStable(order.Mounts, func(i, j int) bool { return order.Mounts[i].Target < order.Mounts[j].Target })
	for _, mount := range order.Mounts {
		if err := bind(mount, root); err != nil {
			return err
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("entering the container's root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the machine's root: %w", err)
	}
	return become(order)
}

// buildRoot lays the container's own writable folder over the machine's root, which stays as it is.
func buildRoot(order containerOrder) (string, error) {
	submounts, err := visibleMounts()
	if err != nil {
		return "", err
	}
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
	for _, path := range submounts {
		if err := bind(Mount{Source: path, Target: path, ReadOnly: true}, merged); err != nil {
			return "", err
		}
	}
	if err := unix.Mount("proc", filepath.Join(merged, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mounting /proc: %w", err)
	}
	if err := unix.Mount("sysfs", filepath.Join(merged, "sys"), "sysfs", unix.MS_NOSUID|unix.MS_RDONLY, ""); err != nil {
		return "", fmt.Errorf("mounting /sys: %w", err)
	}
	if err := buildDevices(filepath.Join(merged, "dev"), order.Shm); err != nil {
		return "", err
	}
	return merged, writeNetworkFiles(order, filepath.Join(merged, "etc"))
}

// visibleMounts lists what is mounted below the machine's root and holds files that programs need: a virtual
// environment may be there. Kernel file systems and those of run-time state are left out.
func visibleMounts() ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	skippedTypes := []string{
		"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "fusectl",
		"hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "sysfs", "tracefs",
	}
	var found []string
	for _, line := range strings.Split(string(content), "\n") {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 {
			continue
		}
		path := unescape(fields[4])
		kind := strings.Fields(after)[0]
		skipped := path == "/" || slices.Contains(skippedTypes, kind)
		for _, root := range []string{"/proc", "/sys", "/dev", "/run", "/boot", "/var/lib/docker", "/snap"} {
			skipped = skipped || path == root || strings.HasPrefix(path, root+"/")
		}
		if !skipped {
			found = append(found, path)
		}
	}
	sort.Strings(found)
	return slices.Compact(found), nil
}

func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

func bind(mount Mount, root string) error {
	target := filepath.Join(root, mount.Target)
	info, err := os.Stat(mount.Source)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", mount.Target, err)
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else {
		err = touch(target)
	}
	if err != nil {
		return fmt.Errorf("making the mount point %s: %w", mount.Target, err)
	}
	if err := unix.Mount(mount.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", mount.Target, err)
	}
	if !mount.ReadOnly {
		return nil
	}
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attributes); err != nil {
		return fmt.Errorf("making %s read-only: %w", mount.Target, err)
	}
	return nil
}

func touch(path string) error {
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
		source := filepath.Join("/dev", name)
		if _, err := os.Stat(source); err != nil {
			continue
		}
		if err := bind(Mount{Source: source, Target: name}, dev); err != nil {
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
	pts := filepath.Join(dev, "pts")
	if err := os.Mkdir(pts, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", pts, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("mounting /dev/pts: %w", err)
	}
	return bind(Mount{Source: shm, Target: "shm"}, dev)
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
