package kubelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment finds the values of a container's variables. Errors read as a kubelet's.
type environment struct {
	runner    *runner
	container *v1.Container
	values    map[string]string
}

// resolveEnvironment returns a container's variables: those of the image, those of the cluster, and the container's own,
// which may refer to what comes before them.
func (r *runner) resolveEnvironment(
	ctx context.Context, container *v1.Container, image map[string]string,
) (map[string]string, error) {
	host, port := r.kubelet.host.APIServer()
	values := map[string]string{"PATH": defaultPath, "HOSTNAME": hostname(r.Pod())}
	if home, err := os.UserHomeDir(); err == nil {
		values["HOME"] = home
	}
	maps.Copy(values, image)
	maps.Copy(values, map[string]string{
		"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBERNETES_SERVICE_PORT_HTTPS": port,
	})
	e := environment{r, container, values}
	for index := range container.EnvFrom {
		if err := e.addSource(ctx, &container.EnvFrom[index]); err != nil {
			return nil, err
		}
	}
	for index := range container.Env {
		if err := e.addVariable(ctx, &container.Env[index]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (e environment) addSource(ctx context.Context, source *v1.EnvFromSource) error {
	values, err := map[string]string(nil), error(nil)
	switch {
	case source.ConfigMapRef != nil:
		values, err = e.runner.configMapTexts(ctx, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
	case source.SecretRef != nil:
		values, err = e.runner.secretTexts(ctx, source.SecretRef.Name, source.SecretRef.Optional)
	}
	for key, value := range values {
		e.values[source.Prefix+key] = value
	}
	return err
}

func (e environment) addVariable(ctx context.Context, variable *v1.EnvVar) error {
	if variable.ValueFrom == nil {
		e.values[variable.Name] = expand(variable.Value, e.values)
		return nil
	}
	value, set, err := e.reference(ctx, variable.ValueFrom)
	if set {
		e.values[variable.Name] = value
	}
	return err
}

func (e environment) reference(ctx context.Context, from *v1.EnvVarSource) (value string, set bool, err error) {
	pod := e.runner.Pod()
	switch {
	case from.FieldRef != nil:
		value, err = fieldValue(pod, e.runner.address(), from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resourceValue(pod, e.container, e.runner.kubelet.offered(pod), from.ResourceFieldRef)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		values, err := e.runner.configMapTexts(ctx, ref.Name, ref.Optional)
		return pick(values, err, ref.Key, ref.Optional, "ConfigMap", pod.Namespace, ref.Name)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		values, err := e.runner.secretTexts(ctx, ref.Name, ref.Optional)
		return pick(values, err, ref.Key, ref.Optional, "Secret", pod.Namespace, ref.Name)
	}
	return "", false, errors.New("a process node does not know where the value is from: only fieldRef, resourceFieldRef, " +
		"configMapKeyRef and secretKeyRef")
}

func pick(
	values map[string]string, err error, key string, optional *bool, kind, namespace, name string,
) (value string, set bool, problem error) {
	if err != nil {
		return "", false, err
	}
	value, found := values[key]
	if !found && !isTrue(optional) {
		return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, namespace, name)
	}
	return value, found, nil
}

func isTrue(flag *bool) bool { return flag != nil && *flag }

// configMapData returns the content of a ConfigMap; nothing for an optional one that is not there.
func (r *runner) configMapData(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	found, err := r.kubelet.client.CoreV1().ConfigMaps(r.Pod().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(err, "configmap", name, optional)
	}
	data := maps.Clone(found.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range found.Data {
		data[key] = []byte(value)
	}
	return data, nil
}

// secretData returns the content of a Secret; nothing for an optional one that is not there.
func (r *runner) secretData(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	found, err := r.kubelet.client.CoreV1().Secrets(r.Pod().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(err, "secret", name, optional)
	}
	return found.Data, nil
}

func missing(err error, kind, name string, optional *bool) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	if isTrue(optional) {
		return nil
	}
	return fmt.Errorf("%s %q not found", kind, name)
}

func (r *runner) configMapTexts(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	data, err := r.configMapData(ctx, name, optional)
	return texts(data), err
}

func (r *runner) secretTexts(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	data, err := r.secretData(ctx, name, optional)
	return texts(data), err
}

func texts(data map[string][]byte) map[string]string {
	values := make(map[string]string, len(data))
	for key, value := range data {
		values[key] = string(value)
	}
	return values
}

func list(values map[string]string) []string {
	lines := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		lines = append(lines, name+"="+values[name])
	}
	return lines
}

// hostname is the name by which a pod knows itself.
func hostname(pod *v1.Pod) string {
	if pod.Spec.Hostname != "" {
		return pod.Spec.Hostname
	}
	return pod.Name[:min(len(pod.Name), 63)]
}
