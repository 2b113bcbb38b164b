//go:build !linux

package sandbox

// adoptOrphans does nothing: elsewhere only the process group of a container is known.
func adoptOrphans() {}

// killDescendants leaves it to the signal to the process group. What began a session of its own outlives its pod.
func killDescendants() {}
