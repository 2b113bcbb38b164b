//go:build !linux

package sandbox

import "errors"

// RunRole plays a part in a pod if the arguments of this program name one, and then does not return. Call it at the
// top of main.
func RunRole(arguments []string) {
	if len(arguments) > 1 && arguments[1] == GuardArgument {
		RunGuard(arguments[2:])
	}
}

// NewNamespacesHost fails: namespaces are Linux's.
func NewNamespacesHost(Options) (Host, Fabric, error) {
	return nil, nil, errors.New("pods in namespaces of their own need Linux: use the isolation \"shared\"")
}

// Sweep has nothing to remove.
func Sweep(string) {}
