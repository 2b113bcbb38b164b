package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stepworks.dev/testbed/process-node/internal/config"
	"stepworks.dev/testbed/process-node/internal/kubelet"
)

func parse(t *testing.T, query string) (kubelet.LogOptions, error) {
	t.Helper()
	return logOptions(httptest.NewRequest(http.MethodGet, "/containerLogs/a/b/c?"+query, nil))
}

func TestLogOptionsAreThoseOfKubectlLogs(t *testing.T) {
	options, err := parse(t, "follow=true&previous=true&timestamps=true&tailLines=5&limitBytes=9")
	if err != nil {
		t.Fatal(err)
	}
	if !options.Follow || !options.Previous || !options.Timestamps || options.Tail != 5 || options.Limit != 9 {
		t.Errorf("%+v", options)
	}
	if options, _ = parse(t, ""); options.Tail != -1 || !options.Since.IsZero() {
		t.Errorf("without a query the whole log is expected: %+v", options)
	}
	if options, _ = parse(t, "sinceSeconds=60"); time.Since(options.Since).Round(time.Second) != time.Minute {
		t.Errorf("since %s", options.Since)
	}
	if options, _ = parse(t, "sinceTime=2026-01-02T03:04:05Z"); options.Since.Year() != 2026 {
		t.Errorf("since %s", options.Since)
	}
}

func TestWrongLogOptionsAreNamed(t *testing.T) {
	for query, told := range map[string]string{
		"tailLines=all":       `tailLines is "all"`,
		"limitBytes=-1":       `limitBytes is "-1"`,
		"sinceSeconds=1.5":    `sinceSeconds is "1.5"`,
		"sinceTime=yesterday": `sinceTime is "yesterday"`,
	} {
		if _, err := parse(t, query); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestAnErrorIsToldByItsStatus(t *testing.T) {
	for _, each := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("pod a: %w", kubelet.ErrNotFound), http.StatusNotFound},
		{&kubelet.NotRunningError{}, http.StatusBadRequest},
		{errors.New("the disk is full"), http.StatusInternalServerError},
		{context.Canceled, http.StatusOK}, // who has hung up is told nothing
	} {
		response := httptest.NewRecorder()
		fail(response, each.err)
		if response.Code != each.status {
			t.Errorf("%v: %d", each.err, response.Code)
		}
	}
}

func TestALineOfALogIsSentAtOnce(t *testing.T) {
	response := httptest.NewRecorder()
	output := &flushing{ResponseWriter: response}
	if _, err := io.WriteString(output, "step 1\n"); err != nil || !output.begun || !response.Flushed {
		t.Errorf("begun %v, flushed %v, %v", output.begun, response.Flushed, err)
	}
}

// authority is a certificate that signs itself: server, authority of clients and client in one.
func authority(t *testing.T, name string) (config.TLS, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	paths := config.TLS{Certificate: filepath.Join(folder, name+".crt"), Key: filepath.Join(folder, name+".key")}
	paths.ClientCA = paths.Certificate
	for path, block := range map[string]*pem.Block{
		paths.Certificate: {Type: "CERTIFICATE", Bytes: certificate}, paths.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(paths.Certificate, paths.Key)
	if err != nil {
		t.Fatal(err)
	}
	return paths, pair
}

func TestOnlyTheAPIServerIsAnswered(t *testing.T) {
	settings, ours := authority(t, "ours")
	_, foreign := authority(t, "foreign")
	server, err := Listen(settings)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(nil) }()

	ask := func(certificates ...tls.Certificate) (string, error) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
		}}
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/healthz", server.Port))
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	if body, err := ask(ours); err != nil || body != "ok" {
		t.Errorf("the API server got %q, %v", body, err)
	}
	for _, certificates := range [][]tls.Certificate{nil, {foreign}} {
		if body, err := ask(certificates...); err == nil {
			t.Errorf("a client with %d certificates of its own got %q", len(certificates), body)
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("closing it is no error: %v", err)
	}
}

func TestCertificatesThatCannotBeReadAreNamed(t *testing.T) {
	settings, _ := authority(t, "ours")
	noPEM := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for told, wrong := range map[string]config.TLS{
		"certificate of the kubelet API": {Certificate: noPEM, Key: settings.Key, ClientCA: settings.ClientCA},
		"authority of the kubelet API":   {Certificate: settings.Certificate, Key: settings.Key, ClientCA: "absent"},
		"no certificate in PEM form":     {Certificate: settings.Certificate, Key: settings.Key, ClientCA: noPEM},
	} {
		if _, err := Listen(wrong); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("%s: %v", told, err)
		}
	}
}
