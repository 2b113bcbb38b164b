package kubelet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// hostAddress is the address of every node: they are on this machine.
const hostAddress = "127.0.0.1"

// fieldValue is what a fieldRef of the downward API stands for.
func fieldValue(pod *v1.Pod, address, path string) (string, error) {
	if name, key, isKey := subscript(path); isKey {
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return hostAddress, nil
	case "status.podIP", "status.podIPs":
		return address, nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

// subscript splits metadata.labels['key'].
func subscript(path string) (name, key string, isKey bool) {
	name, rest, opened := strings.Cut(path, "['")
	key, closed := strings.CutSuffix(rest, "']")
	return name, key, opened && closed
}

func formatMap(values map[string]string) string {
	lines := make([]string, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		lines = append(lines, key+"="+strconv.Quote(values[key]))
	}
	return strings.Join(lines, "\n")
}

// resourceValue is what a resourceFieldRef stands for: a multiple of its divisor, rounded up. A limit that the
// container does not have is what its node offers.
func resourceValue(
	pod *v1.Pod, container *v1.Container, offered v1.ResourceList, ref *v1.ResourceFieldSelector,
) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != container.Name {
		container = findContainer(&pod.Spec, ref.ContainerName)
		if container == nil {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := container.Resources.Limits
	if kind == "requests" {
		list = container.Resources.Requests
	}
	quantity, set := list[v1.ResourceName(name)]
	if !set && kind == "limits" {
		quantity = offered[v1.ResourceName(name)]
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == string(v1.ResourceCPU) {
		return strconv.FormatInt(divideUp(quantity.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(divideUp(quantity.Value(), divisor.Value()), 10), nil
}

func divideUp(value, divisor int64) int64 { return (value + divisor - 1) / divisor }

func findContainer(spec *v1.PodSpec, name string) *v1.Container {
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for index := range list {
			if list[index].Name == name {
				return &list[index]
			}
		}
	}
	return nil
}
