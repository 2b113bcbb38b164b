package kubelet

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	defaultMode = int32(0o644)
	// tokenSeconds is how long a service account's token holds at least: it is written once and not renewed.
	tokenSeconds = int64(24 * 60 * 60)
)

// files are the content of a volume by path.
type files map[string]file

type file struct {
	content []byte
	mode    os.FileMode
}

// write puts the files into a folder.
func (f files) write(folder string) error {
	for name, file := range f {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("path %q leads out of the volume", name)
		}
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.content, file.mode); err != nil {
			return err
		}
		if err := os.Chmod(path, file.mode); err != nil { // whatever the umask
			return err
		}
	}
	return nil
}

// files reads the content of a volume that shows objects of the cluster.
func (r *runner) files(ctx context.Context, spec *v1.Volume) (files, error) {
	switch {
	case spec.ConfigMap != nil:
		source := spec.ConfigMap
		data, err := r.configMapData(ctx, source.Name, source.Optional)
		return project(data, err, source.Items, source.DefaultMode, source.Optional, "configmap")
	case spec.Secret != nil:
		source := spec.Secret
		data, err := r.secretData(ctx, source.SecretName, source.Optional)
		return project(data, err, source.Items, source.DefaultMode, source.Optional, "secret")
	case spec.DownwardAPI != nil:
		return r.downwardFiles(spec.DownwardAPI.Items, spec.DownwardAPI.DefaultMode)
	case spec.Projected != nil:
		return r.projectedFiles(ctx, spec.Projected)
	}
	return nil, fmt.Errorf("a process node does not know this kind of volume: only configMap, secret, downwardAPI, " +
		"projected, emptyDir, hostPath and persistentVolumeClaim")
}

// project chooses and names the files of a ConfigMap or Secret.
func project(
	data map[string][]byte, err error, items []v1.KeyToPath, mode *int32, optional *bool, kind string,
) (files, error) {
	if err != nil {
		return nil, err
	}
	chosen := files{}
	if len(items) == 0 {
		for key, content := range data {
			chosen[key] = file{content, modeOf(nil, mode)}
		}
		return chosen, nil
	}
	for _, item := range items {
		content, found := data[item.Key]
		if !found && !isTrue(optional) {
			return nil, fmt.Errorf("%s references non-existent config key: %s", kind, item.Key)
		}
		if found {
			chosen[item.Path] = file{content, modeOf(item.Mode, mode)}
		}
	}
	return chosen, nil
}

func modeOf(own, common *int32) os.FileMode {
	mode := defaultMode
	switch {
	case own != nil:
		mode = *own
	case common != nil:
		mode = *common
	}
	return os.FileMode(mode) & os.ModePerm
}

func (r *runner) downwardFiles(items []v1.DownwardAPIVolumeFile, mode *int32) (files, error) {
	made := files{}
	pod := r.Pod()
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = fieldValue(pod, r.address(), item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			container := findContainer(&pod.Spec, item.ResourceFieldRef.ContainerName)
			if container == nil {
				return nil, fmt.Errorf("container %s not found", item.ResourceFieldRef.ContainerName)
			}
			value, err = resourceValue(pod, container, r.kubelet.offered(pod), item.ResourceFieldRef)
		}
		if err != nil {
			return nil, err
		}
		made[item.Path] = file{[]byte(value), modeOf(item.Mode, mode)}
	}
	return made, nil
}

func (r *runner) projectedFiles(ctx context.Context, source *v1.ProjectedVolumeSource) (files, error) {
	made := files{}
	for _, part := range source.Sources {
		var added files
		var err error
		switch {
		case part.ConfigMap != nil:
			var data map[string][]byte
			data, err = r.configMapData(ctx, part.ConfigMap.Name, part.ConfigMap.Optional)
			added, err = project(data, err, part.ConfigMap.Items, source.DefaultMode, part.ConfigMap.Optional, "configmap")
		case part.Secret != nil:
			var data map[string][]byte
			data, err = r.secretData(ctx, part.Secret.Name, part.Secret.Optional)
			added, err = project(data, err, part.Secret.Items, source.DefaultMode, part.Secret.Optional, "secret")
		case part.DownwardAPI != nil:
			added, err = r.downwardFiles(part.DownwardAPI.Items, source.DefaultMode)
		case part.ServiceAccountToken != nil:
			added, err = r.tokenFile(ctx, part.ServiceAccountToken)
		default:
			err = fmt.Errorf("a process node does not know this projected source: only configMap, secret, downwardAPI " +
				"and serviceAccountToken")
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(made, added)
	}
	return made, nil
}

func (r *runner) tokenFile(ctx context.Context, source *v1.ServiceAccountTokenProjection) (files, error) {
	pod := r.Pod()
	seconds := tokenSeconds
	if source.ExpirationSeconds != nil {
		seconds = max(seconds, *source.ExpirationSeconds)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	accounts := r.kubelet.client.CoreV1().ServiceAccounts(pod.Namespace)
	token, err := accounts.CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("failed to fetch token: %w", err)
	}
	return files{source.Path: {[]byte(token.Status.Token), 0o600}}, nil
}
