// Package api is what the API server asks of a kubelet: logs, and connections into pods.
package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/internal/kubelet"
)

// Server answers the API server.
type Server struct {
	Port int32

	listener net.Listener
	http     *http.Server
}

// Listen opens a free port of loopback. Only clients whose certificate is of the authority given are answered.
func Listen(settings config.TLS) (*Server, error) {
	certificate, err := tls.LoadX509KeyPair(settings.Certificate, settings.Key)
	if err != nil {
		return nil, fmt.Errorf("the certificate of the kubelet API cannot be used: %w", err)
	}
	authority, err := os.ReadFile(settings.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("the authority of the kubelet API's clients cannot be read: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", settings.ClientCA)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener = tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
		ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"http/1.1"}, // a connection into a pod takes over the whole connection
	})
	return &Server{Port: int32(port), listener: listener}, nil
}

// Serve answers for the pods of a kubelet, until Close.
func (s *Server) Serve(pods *kubelet.Kubelet) error {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(response http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(response, "ok")
	})
	routes.HandleFunc("GET /pods", func(response http.ResponseWriter, _ *http.Request) { listPods(pods, response) })
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}",
		func(response http.ResponseWriter, request *http.Request) { serveLog(pods, response, request) })
	routes.HandleFunc("/exec/{namespace}/{pod}/{container}",
		func(response http.ResponseWriter, request *http.Request) { serveExec(pods, response, request) })
	routes.HandleFunc("/attach/{namespace}/{pod}/{container}",
		func(response http.ResponseWriter, request *http.Request) { serveAttach(pods, response, request) })
	routes.HandleFunc("/portForward/{namespace}/{pod}",
		func(response http.ResponseWriter, request *http.Request) { servePortForward(pods, response, request) })
	s.http = &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends the server and its connections.
func (s *Server) Close() error {
	if s.http == nil {
		return s.listener.Close()
	}
	return s.http.Close()
}

func listPods(pods *kubelet.Kubelet, response http.ResponseWriter) {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: pods.Pods()}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(list) // who has hung up reads no error
}

func serveLog(pods *kubelet.Kubelet, response http.ResponseWriter, request *http.Request) {
	options, err := logOptions(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	output := &flushing{ResponseWriter: response}
	ctx := request.Context()
	err = pods.ReadLog(
		ctx, request.PathValue("namespace"), request.PathValue("pod"), request.PathValue("container"), options, output)
	if err != nil && !output.begun {
		fail(response, err)
	}
}

func fail(response http.ResponseWriter, err error) {
	var notRunning *kubelet.NotRunningError
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, kubelet.ErrNotFound):
		status = http.StatusNotFound
	case errors.As(err, &notRunning):
		status = http.StatusBadRequest
	case errors.Is(err, context.Canceled):
		return
	}
	http.Error(response, err.Error(), status)
}

func logOptions(request *http.Request) (kubelet.LogOptions, error) {
	query := request.URL.Query()
	options := kubelet.LogOptions{
		Follow: query.Get("follow") == "true", Previous: query.Get("previous") == "true",
		Timestamps: query.Get("timestamps") == "true", Tail: -1,
	}
	seconds := int64(0)
	for _, number := range []struct {
		name  string
		value *int64
	}{{"tailLines", &options.Tail}, {"sinceSeconds", &seconds}, {"limitBytes", &options.Limit}} {
		text := query.Get(number.name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 0 {
			return options, fmt.Errorf("%s is %q; a whole number from 0 is expected", number.name, text)
		}
		*number.value = value
	}
	if seconds > 0 {
		options.Since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return options, fmt.Errorf("sinceTime is %q; a time as in RFC 3339 is expected", text)
		}
		options.Since = since
	}
	return options, nil
}

// flushing sends each line on its way at once: somebody may follow.
type flushing struct {
	http.ResponseWriter
	begun bool
}

func (f *flushing) Write(content []byte) (int, error) {
	f.begun = true
	written, err := f.ResponseWriter.Write(content)
	if flusher, ok := f.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return written, err
}
