package sandbox

// The first arguments of this program when it is a process of a pod.
const (
	PodArgument       = "pod"       // the first process of a pod, which holds its namespaces
	ContainerArgument = "container" // the first process of a container, until it becomes the container's command
)

// RunRole plays a part in a pod if the arguments of this program name one, and then does not return. Call it at the
// top of main.
func RunRole(arguments []string) {
	if len(arguments) < 2 {
		return
	}
	switch arguments[1] {
	case GuardArgument:
		RunGuard(arguments[2:])
	case PodArgument:
		runPodRole()
	case ContainerArgument:
		runContainerRole()
	}
}
