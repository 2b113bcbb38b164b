// Package config reads what a process node is told: its nodes, its images and its addresses.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

// Node is one Node object that this process stands behind.
type Node struct {
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels"`
	Taints   []v1.Taint        `json:"taints"`
	Capacity v1.ResourceList   `json:"capacity"`
}

// TLS is the certificate of the kubelet API, and the authority of those who may use it.
type TLS struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	ClientCA    string `json:"client_ca"`
}

// Endpoint is where the API server listens, as this machine reaches it.
type Endpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Config is the content of the file named by --config.
type Config struct {
	Nodes         []Node       `json:"nodes"`
	Images        []Image      `json:"images"`
	PodCIDR       netip.Prefix `json:"pod_cidr"`
	ServiceCIDR   netip.Prefix `json:"service_cidr"`
	ClusterDomain string       `json:"cluster_domain"`
	Isolation     string       `json:"isolation"`
	APIServer     Endpoint     `json:"api_server"`
	TLS           TLS          `json:"tls"`
	Claims        string       `json:"claims"`
}

// The ways in which pods are kept apart.
const (
	Auto       = "auto"
	Namespaces = "namespaces"
	Shared     = "shared"
)

// Load reads and checks a configuration file.
func Load(path string) (*Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	loaded := &Config{ClusterDomain: "cluster.local", Isolation: Auto}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(loaded); err != nil {
		return nil, fmt.Errorf("%s is not a configuration: %w", path, err)
	}
	if err := loaded.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// Threads that visit other mount namespaces lose the working directory, so paths are absolute from here on.
	loaded.Claims, err = filepath.Abs(loaded.Claims)
	return loaded, err
}

func (c *Config) check() error {
	var problems []error
	if len(c.Nodes) == 0 {
		problems = append(problems, errors.New(`"nodes" is empty: name at least one node`))
	}
	for _, node := range c.Nodes {
		if node.Name == "" {
			problems = append(problems, errors.New(`a node has no "name"`))
		}
	}
	for _, image := range c.Images {
		if image.Pattern == "" {
			problems = append(problems, errors.New(`an entry of "images" has no "image" pattern`))
		}
	}
	switch c.Isolation {
	case Auto, Namespaces, Shared:
	default:
		problems = append(problems, fmt.Errorf(`"isolation" is %q: expected auto, namespaces or shared`, c.Isolation))
	}
	if c.Isolation != Shared && (!c.PodCIDR.Addr().Is4() || c.PodCIDR.Bits() > 28) {
		problems = append(problems, fmt.Errorf(`"pod_cidr" is %q: expected an IPv4 range of at least 16 addresses`, c.PodCIDR))
	}
	if c.Isolation != Shared && !c.ServiceCIDR.Addr().Is4() {
		problems = append(problems, fmt.Errorf(`"service_cidr" is %q: expected an IPv4 range`, c.ServiceCIDR))
	}
	if c.TLS.Certificate == "" || c.TLS.Key == "" || c.TLS.ClientCA == "" {
		// Without the authority anyone on this machine could run commands in pods.
		problems = append(problems, errors.New(`"tls" needs "certificate", "key" and "client_ca"`))
	}
	if c.APIServer.Host == "" || c.APIServer.Port <= 0 {
		problems = append(problems, errors.New(`"api_server" needs the "host" and "port" at which this machine reaches it`))
	}
	if c.Claims == "" {
		problems = append(problems, errors.New(`"claims" is missing: name the folder that holds a folder for each claim`))
	}
	return errors.Join(problems...)
}
