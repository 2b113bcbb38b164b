package kubelet

import (
	"maps"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/internal/config"
)

func TestExpand(t *testing.T) {
	variables := map[string]string{"A": "1", "EMPTY": "", "NESTED": "$(A)"}
	for text, expected := range map[string]string{
		"$(A)": "1", "x$(A)y$(A)": "x1y1", "$(EMPTY)": "", "$(NESTED)": "$(A)",
		"$$(A)": "$(A)", "$$$(A)": "$1", "$(NOPE)": "$(NOPE)", "$A": "$A", "$(A": "$(A", "$": "$", "a$$": "a$", "": "",
	} {
		if expanded := expand(text, variables); expanded != expected {
			t.Errorf("%q becomes %q, not %q", text, expanded, expected)
		}
	}
}

func TestCommandLine(t *testing.T) {
	image := &config.Image{Command: []string{"entry"}, Args: []string{"default"}}
	for name, test := range map[string]struct {
		command, args, expected []string
	}{
		"neither":   {nil, nil, []string{"entry", "default"}},
		"arguments": {nil, []string{"a"}, []string{"entry", "a"}},
		"command":   {[]string{"c"}, nil, []string{"c"}},
		"both":      {[]string{"c"}, []string{"$(V)"}, []string{"c", "value"}},
	} {
		spec := &v1.Container{Command: test.command, Args: test.args}
		line := commandLine(spec, image, map[string]string{"V": "value"})
		if len(line) != len(test.expected) || line[len(line)-1] != test.expected[len(line)-1] || line[0] != test.expected[0] {
			t.Errorf("with %s a container runs %q, not %q", name, line, test.expected)
		}
	}
}

func TestFieldValue(t *testing.T) {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p", Namespace: "n", UID: "u", Labels: map[string]string{"b": "2", "a.b/c": `1"`},
			Annotations: map[string]string{"x": "y"},
		},
		Spec: v1.PodSpec{NodeName: "node", ServiceAccountName: "account"},
	}
	for path, expected := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "n", "metadata.uid": "u", "metadata.labels['a.b/c']": `1"`,
		"metadata.annotations['none']": "", "metadata.labels": "a.b/c=\"1\\\"\"\nb=\"2\"", "metadata.annotations": `x="y"`,
		"spec.nodeName": "node", "spec.serviceAccountName": "account", "status.podIP": "10.0.0.7", "status.hostIP": hostAddress,
	} {
		if value, err := fieldValue(pod, "10.0.0.7", path); err != nil || value != expected {
			t.Errorf("%s is %q (%v), not %q", path, value, err, expected)
		}
	}
	if _, err := fieldValue(pod, "", "spec.nothing"); err == nil {
		t.Error("an unknown field has a value")
	}
}

func TestResourceValue(t *testing.T) {
	quantities := func(pairs map[v1.ResourceName]string) v1.ResourceList {
		list := v1.ResourceList{}
		for name, text := range pairs {
			list[name] = resource.MustParse(text)
		}
		return list
	}
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{
		{Name: "a", Resources: v1.ResourceRequirements{
			Limits:   quantities(map[v1.ResourceName]string{"cpu": "1500m", "memory": "1Gi"}),
			Requests: quantities(map[v1.ResourceName]string{"cpu": "200m"}),
		}},
		{Name: "b"},
	}}}
	offered := quantities(map[v1.ResourceName]string{"cpu": "32", "memory": "128Gi"})
	for _, test := range []struct{ container, resource, divisor, expected string }{
		{"a", "limits.cpu", "", "2"}, {"a", "limits.cpu", "1m", "1500"}, {"a", "requests.cpu", "1m", "200"},
		{"a", "limits.memory", "1Mi", "1024"}, {"a", "limits.memory", "3Mi", "342"}, {"b", "limits.cpu", "", "32"},
		{"b", "limits.memory", "1Gi", "128"}, {"b", "requests.memory", "", "0"},
	} {
		ref := &v1.ResourceFieldSelector{ContainerName: test.container, Resource: test.resource}
		if test.divisor != "" {
			ref.Divisor = resource.MustParse(test.divisor)
		}
		value, err := resourceValue(pod, &pod.Spec.Containers[0], offered, ref)
		if err != nil || value != test.expected {
			t.Errorf("%v is %q (%v)", test, value, err)
		}
	}
}

func TestProject(t *testing.T) {
	data := map[string][]byte{"a": []byte("1"), "b": []byte("2")}
	mode, own, optional := int32(0o400), int32(0o777), true
	all, err := project(data, nil, nil, &mode, nil, "configmap")
	if err != nil || len(all) != 2 || all["a"].mode != 0o400 {
		t.Errorf("without items every key is a file: %v, %v", all, err)
	}
	chosen, err := project(data, nil, []v1.KeyToPath{{Key: "a", Path: "x/y", Mode: &own}}, &mode, nil, "configmap")
	if err != nil || len(chosen) != 1 || chosen["x/y"].mode != 0o777 {
		t.Errorf("items name the files: %v, %v", chosen, err)
	}
	none := []v1.KeyToPath{{Key: "none", Path: "x"}}
	if _, err := project(data, nil, none, nil, nil, "secret"); err == nil {
		t.Error("a key that is not there is taken")
	}
	if left, err := project(data, nil, none, nil, &optional, "secret"); err != nil || len(left) != 0 {
		t.Errorf("an optional key that is not there is no fault: %v, %v", left, err)
	}
	if err := (files{"../x": {}}).write(t.TempDir()); err == nil {
		t.Error("a path leads out of the volume")
	}
	if values := texts(data); !maps.Equal(values, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("the texts are %v", values)
	}
}
