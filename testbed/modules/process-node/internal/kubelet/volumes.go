package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/sandbox"
)

// volume is where a pod's volume is on this machine.
type volume struct {
	path     string
	readOnly bool
	memory   bool
	size     int64
}

// prepareVolumes makes the folders of a pod's volumes and fills those that show objects of the cluster.
func (r *runner) prepareVolumes(ctx context.Context) (map[string]volume, error) {
	pod := r.Pod()
	volumes := make(map[string]volume, len(pod.Spec.Volumes))
	for index := range pod.Spec.Volumes {
		spec := &pod.Spec.Volumes[index]
		made, err := r.prepareVolume(ctx, spec)
		if err != nil {
			return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", spec.Name, err)
		}
		volumes[spec.Name] = made
	}
	return volumes, nil
}

func (r *runner) prepareVolume(ctx context.Context, spec *v1.Volume) (volume, error) {
	switch {
	case spec.HostPath != nil:
		return volume{path: spec.HostPath.Path}, prepareHostPath(spec.HostPath)
	case spec.PersistentVolumeClaim != nil:
		return r.claimVolume(ctx, spec.PersistentVolumeClaim)
	}
	path := filepath.Join(r.folder, "volumes", spec.Name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return volume{}, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask
		return volume{}, err
	}
	if spec.EmptyDir != nil {
		made := volume{path: path, memory: spec.EmptyDir.Medium == v1.StorageMediumMemory}
		if limit := spec.EmptyDir.SizeLimit; limit != nil {
			made.size = limit.Value()
		}
		return made, nil
	}
	if spec.Ephemeral != nil {
		return r.claimVolume(ctx, &v1.PersistentVolumeClaimVolumeSource{ClaimName: r.Pod().Name + "-" + spec.Name})
	}
	files, err := r.files(ctx, spec)
	if err != nil {
		return volume{}, err
	}
	return volume{path: path, readOnly: true}, files.write(path)
}

func prepareHostPath(source *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	switch kind {
	case v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(source.Path, 0o755)
	case v1.HostPathFileOrCreate:
		file, err := os.OpenFile(source.Path, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return err
		}
		return file.Close()
	}
	found, err := os.Stat(source.Path)
	isWrong := err != nil ||
		kind == v1.HostPathDirectory && !found.IsDir() || kind == v1.HostPathFile && !found.Mode().IsRegular()
	switch {
	case isWrong && kind != v1.HostPathUnset:
		return fmt.Errorf("hostPath type check failed: %s is not a %s", source.Path, strings.ToLower(string(kind)))
	case errors.Is(err, os.ErrNotExist):
		return os.MkdirAll(source.Path, 0o755) // a container runtime makes what it is asked to mount
	}
	return err
}

// claimVolume is the folder of the PersistentVolume that a claim is bound to.
func (r *runner) claimVolume(ctx context.Context, source *v1.PersistentVolumeClaimVolumeSource) (volume, error) {
	namespace := r.Pod().Namespace
	claim, err := r.kubelet.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, source.ClaimName, metav1.GetOptions{})
	if err != nil {
		return volume{}, missing(err, "persistentvolumeclaim", source.ClaimName, nil)
	}
	if claim.Spec.VolumeName == "" || claim.Status.Phase != v1.ClaimBound {
		return volume{}, fmt.Errorf("persistentvolumeclaim %q is not bound", source.ClaimName)
	}
	found, err := r.kubelet.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return volume{}, missing(err, "persistentvolume", claim.Spec.VolumeName, nil)
	}
	switch {
	case found.Spec.HostPath != nil:
		made := volume{path: found.Spec.HostPath.Path, readOnly: source.ReadOnly}
		return made, prepareHostPath(found.Spec.HostPath)
	case found.Spec.Local != nil:
		return volume{path: found.Spec.Local.Path, readOnly: source.ReadOnly}, nil
	}
	return volume{}, fmt.Errorf("persistentvolume %q is neither a hostPath nor a local folder, and a process node mounts "+
		"nothing else", found.Name)
}

// mounts says what of the pod's volumes a container sees where.
func (r *runner) mounts(container *v1.Container, variables map[string]string) ([]sandbox.Mount, error) {
	mounts := make([]sandbox.Mount, 0, len(container.VolumeMounts)+1)
	for _, mount := range container.VolumeMounts {
		source := r.volumes[mount.Name]
		path := source.path
		inner := mount.SubPath
		if mount.SubPathExpr != "" {
			inner = expand(mount.SubPathExpr, variables)
		}
		if inner != "" {
			if !filepath.IsLocal(inner) {
				return nil, fmt.Errorf("subPath %q of volume %q leads out of the volume", inner, mount.Name)
			}
			path = filepath.Join(path, inner)
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				if err := os.MkdirAll(path, 0o755); err != nil {
					return nil, err
				}
			}
		}
		mounts = append(mounts, sandbox.Mount{
			Source: path, Target: filepath.Clean(mount.MountPath), ReadOnly: mount.ReadOnly || source.readOnly,
			Memory: source.memory, Size: source.size,
		})
	}
	return mounts, nil
}
