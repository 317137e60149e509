package interop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var metricsWeb = &http.Client{
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	Timeout:   10 * time.Second,
}

// Metrics and health have an address of their own, and nothing else is served there, with or without TLS.
func TestMetricsAddress(t *testing.T) {
	bins := []string{tool(t, "etcd"), ours(t)}
	var said [2][]string
	for i, bin := range bins {
		secure, plain := freePort(t), freePort(t)
		s := start(t, bin, t.TempDir()+"/data", freePorts(t), "--auto-tls",
			fmt.Sprintf("--listen-metrics-urls=https://127.0.0.1:%d,http://127.0.0.1:%d", secure, plain))
		awaitVersion(t, s)
		everywhere := []string{
			"/metrics", "/health", "/livez", "/readyz", "/readyz/data_corruption", "/livez/none", "/livez/data_corruption",
			"/readyz?verbose", "/version", "/healthy", "/livezy", "/metrics/", "/health/", "/livez/", "/version/", "/readyz?exclude=non_learner&verbose",
		}
		for _, base := range []string{s.url, fmt.Sprintf("https://127.0.0.1:%d", secure), fmt.Sprintf("http://127.0.0.1:%d", plain)} {
			paths := everywhere
			if base != s.url {
				paths = append(slices.Clone(paths), "/", "/v3/kv/range", "/debug/vars")
			}
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
				for _, path := range paths {
					said[i] = append(said[i], probeSays(t, method, base, path))
				}
			}
		}
		config := clientv3.Config{Endpoints: []string{fmt.Sprintf("127.0.0.1:%d", plain)}, Logger: zap.NewNop(), DialTimeout: time.Second}
		client, err := clientv3.New(config)
		if err != nil {
			t.Fatal(err)
		}
		limited := short(t)
		if got, err := client.Get(limited, "k", clientv3.WithSerializable()); err == nil {
			t.Errorf("%s answers calls for metrics: %v", bin, got)
		}
		client.Close()
	}
	for n, want := range said[0] {
		if got := said[1][n]; got != want {
			t.Errorf("etcd: %s\nours: %s", want, got)
		}
	}
}

func probeSays(t testing.TB, method, base, path string) string {
	t.Helper()
	said, err := probe(method, base+path)
	if err != nil {
		t.Fatal(err)
	}
	scheme, _, _ := strings.Cut(base, ":")
	return fmt.Sprint(scheme, " ", method, " ", path, ": ", said)
}

func probe(method, url string) (string, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := metricsWeb.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	lines := strings.Split(string(body), "\n")
	slices.Sort(lines)
	text := strings.Join(lines, "\n")
	if strings.Contains(text, "etcd_server_has_leader") {
		text = "metrics"
	}
	return fmt.Sprint(resp.Status, " ", resp.Header.Get("Content-Type"), " ", resp.Header.Get("Access-Control-Allow-Origin"), " ", text), err
}

// A member without a majority is not ready for clients, and its health can be asked for.
func TestMetricsAddressWithoutMajority(t *testing.T) {
	t.Parallel()
	for name, bin := range map[string]string{"etcd": tool(t, "etcd"), "ours": ours(t)} {
		port := freePort(t)
		m := newMember(t, bin, "m0")
		m.launch(t, listOf(m, newMember(t, bin, "m1"), newMember(t, bin, "m2")), fmt.Sprintf("--listen-metrics-urls=http://127.0.0.1:%d", port))
		base := fmt.Sprintf("http://127.0.0.1:%d", port)
		for path, want := range map[string]string{"/livez": "200 OK", "/readyz": "503", "/health": "503", "/metrics": "200 OK"} {
			poll(t, 30*time.Second, func() error {
				said, err := probe("GET", base+path)
				if err == nil && !strings.HasPrefix(said, want) {
					err = errors.New(said)
				}
				return err
			})
		}
		said, err := probe("GET", m.url+"/health")
		if err == nil && strings.HasPrefix(said, "200") {
			t.Errorf("%s is healthy for clients without a majority: %s", name, said)
		}
		m.kill()
	}
}

// Addresses that cannot be served stop the start.
func TestMetricsAddressIsRefused(t *testing.T) {
	refusals := map[string]string{
		"https://127.0.0.1:1": "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
		"http://h:1":          "expected IP in URL for binding (http://h:1)",
		"127.0.0.1:1":         "URL",
	}
	quoted := regexp.MustCompile(`\\?"`)
	for _, bin := range []string{tool(t, "etcd"), ours(t)} {
		for url, want := range refusals {
			p := freePorts(t)
			cmd := exec.Command(bin, "--data-dir="+t.TempDir()+"/data", "--listen-metrics-urls="+url,
				fmt.Sprintf("--listen-client-urls=http://127.0.0.1:%d", p.client), fmt.Sprintf("--advertise-client-urls=http://127.0.0.1:%d", p.client),
				fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", p.peer), fmt.Sprintf("--initial-advertise-peer-urls=http://127.0.0.1:%d", p.peer),
				fmt.Sprintf("--initial-cluster=default=http://127.0.0.1:%d", p.peer))
			out, err := cmd.CombinedOutput()
			if text := quoted.ReplaceAllString(string(out), ""); err == nil || !strings.Contains(text, want) {
				t.Errorf("%s %s: %v %s", bin, url, err, text)
			}
		}
	}
}
