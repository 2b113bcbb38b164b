package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"stepworks.dev/testbed/process-node/internal/kubelet"
)

const idleTimeout = 4 * time.Hour // as in a kubelet

// target is the pod that a connection leads into.
type target struct {
	pods      *kubelet.Kubelet
	namespace string
}

// ExecInContainer runs a command. There are no terminals: with one, its two outputs are one.
func (t target) ExecInContainer(
	ctx context.Context, pod, _, container string, command []string, in io.Reader, out, problems io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	code, err := t.pods.Exec(ctx, t.namespace, pod, container, command, in, orNothing(out), either(problems, out))
	if err == nil && code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command %q exited with %d", command, code), Code: code}
	}
	return err
}

// AttachContainer shows what a container writes from now on. Its input is closed, so nothing can be written to it.
func (t target) AttachContainer(
	ctx context.Context, pod, _, container string, _ io.Reader, out, _ io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize,
) error {
	options := kubelet.LogOptions{Follow: true}
	return t.pods.ReadLog(ctx, t.namespace, pod, container, options, orNothing(out))
}

// PortForward carries a connection to a port of a pod.
func (t target) PortForward(ctx context.Context, pod, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := t.pods.Dial(ctx, t.namespace, pod, int(port))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		defer connection.Close()
		_, _ = io.Copy(connection, stream) // either end may hang up at any time
	}()
	_, err = io.Copy(stream, connection)
	if errors.Is(err, net.ErrClosed) {
		return nil // the client hung up; kubectl would forward no further connection after an error
	}
	return err
}

func orNothing(stream io.WriteCloser) io.Writer { return either(stream, nil) }

// either is the first stream that there is.
func either(first, second io.WriteCloser) io.Writer {
	switch {
	case first != nil:
		return first
	case second != nil:
		return second
	}
	return io.Discard
}

func serveExec(pods *kubelet.Kubelet, response http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(
		response, request, target{pods, request.PathValue("namespace")}, request.PathValue("pod"), "",
		request.PathValue("container"), request.Form["command"], options, idleTimeout,
		remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

func serveAttach(pods *kubelet.Kubelet, response http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(
		response, request, target{pods, request.PathValue("namespace")}, request.PathValue("pod"), "",
		request.PathValue("container"), options, idleTimeout,
		remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

func servePortForward(pods *kubelet.Kubelet, response http.ResponseWriter, request *http.Request) {
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(
		response, request, target{pods, request.PathValue("namespace")}, request.PathValue("pod"), "", options,
		idleTimeout, remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
}
