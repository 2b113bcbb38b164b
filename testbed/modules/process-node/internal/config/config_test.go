package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindImage(t *testing.T) {
	config := &Config{Images: []Image{
		{Pattern: "registry.example.com/stepworks/gpu:*"}, {Pattern: "*/stepworks/*"}, {Pattern: "plain"}, {Pattern: "a*b*c"},
		{Pattern: "tagged:latest"},
	}}
	for image, pattern := range map[string]string{
		"registry.example.com/stepworks/gpu:1": "registry.example.com/stepworks/gpu:*",
		"registry.example.com/stepworks/gpu":   "registry.example.com/stepworks/gpu:*", // latest
		"registry.example.com/stepworks/cpu:1": "*/stepworks/*",
		"plain":                                "plain",
		"plain:1":                              "",
		"tagged":                               "tagged:latest",
		"axbybc":                               "a*b*c",
		"abc":                                  "a*b*c",
		"ac":                                   "",
		"xabc":                                 "",
	} {
		found := config.FindImage(image)
		switch {
		case pattern == "" && found != nil:
			t.Errorf("%q is taken for %q", image, found.Pattern)
		case pattern != "" && (found == nil || found.Pattern != pattern):
			t.Errorf("%q is not taken for %q, but for %v", image, pattern, found)
		}
	}
}

func TestIsReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for image, valid := range map[string]bool{
		"python": true, "python:3.12-slim": true, "registry.example.com:5000/a/b_c:v1": true,
		"localhost/a@" + digest: true, "a/b:1@" + digest: true,
		"": false, "Python": false, "a:b:c": false, "a b": false, "registry.example.com/": false, "a@sha256:12": false,
	} {
		if IsReference(image) != valid {
			t.Errorf("IsReference(%q) is %v", image, !valid)
		}
	}
}

func TestLoadNamesEveryFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	content := `{"nodes": [{"name": ""}], "images": [{}], "isolation": "docker", "pod_cidr": "10.0.0.0/30"}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil {
		t.Fatal("a wrong configuration is taken")
	}
	for _, fault := range []string{
		`no "name"`, `no "image" pattern`, `"docker"`, `"pod_cidr"`, `"service_cidr"`, `"tls"`, `"api_server"`, `"claims"`,
	} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("the error does not name %s: %v", fault, err)
		}
	}
	if err := os.WriteFile(path, []byte(`{"imagse": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "imagse") {
		t.Errorf("the error does not name the unknown field: %v", err)
	}
}
