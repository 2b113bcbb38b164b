package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"golang.org/x/net/http2"
)

// unverified accepts any certificate: a probe asks for health, not for identity, as in a kubelet.
func unverified() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// checkGRPC calls grpc.health.v1.Health/Check. The two messages are small enough to be written and read by hand: a
// string in field 1, and an enumeration in field 1 whose value 1 is SERVING.
func (r *runner) checkGRPC(ctx context.Context, c *container, action *v1.GRPCAction) error {
	var message []byte
	if action.Service != nil && *action.Service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(*action.Service)))
		message = append(message, *action.Service...)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	url := fmt.Sprintf("http://%s/grpc.health.v1.Health/Check", r.address())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(frame))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	transport := &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
			return r.dial(ctx, c, "", intstr.FromInt32(action.Port))
		},
	}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, longestOutput))
	if err != nil {
		return err
	}
	code := response.Trailer.Get("Grpc-Status")
	if code == "" {
		code = response.Header.Get("Grpc-Status")
	}
	if code != "0" {
		return fmt.Errorf("gRPC health check failed with status %q: %s", code, response.Trailer.Get("Grpc-Message"))
	}
	if !bytes.Equal(answer[min(len(answer), 5):], []byte{1 << 3, 1}) {
		return fmt.Errorf("service unhealthy (the gRPC health check does not answer SERVING)")
	}
	return nil
}
