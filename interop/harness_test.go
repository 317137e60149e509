package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// ours is the server under test: HOLDFAST_ETCD, or what cargo built.
func ours(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("HOLDFAST_ETCD"); path != "" {
		if err := isFile(path); err != nil {
			t.Fatalf("HOLDFAST_ETCD names no server: %v", err)
		}
		abs, _ := filepath.Abs(path)
		return abs
	}
	for _, path := range []string{"../target/release/etcd", "../target/debug/etcd"} {
		if isFile(path) == nil {
			abs, _ := filepath.Abs(path)
			return abs
		}
	}
	if os.Getenv("HOLDFAST_REQUIRE") != "" {
		t.Fatal("there is no server binary; build it with `cargo build -p etcd` or set HOLDFAST_ETCD")
	}
	t.Skip("skipped: there is no server binary; build it with `cargo build -p etcd` or set HOLDFAST_ETCD")
	return ""
}

func isFile(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	return err
}

// tool is one of the reference's programs, built by build.sh.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, _ := filepath.Abs(filepath.Join("bin", name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("HOLDFAST_REQUIRE") != "" {
			t.Fatalf("%s is missing; run interop/build.sh", path)
		}
		t.Skipf("skipped: %s is missing; run interop/build.sh", path)
	}
	return path
}

// ports keeps both ports of a data directory, so that a member keeps its identity.
type ports struct{ client, peer int }

func freePorts(t testing.TB) ports {
	t.Helper()
	return ports{freePort(t), freePort(t)}
}

// freePort is a port below those that the system gives to outgoing connections: one of these could
// take it before its server does.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		if _, taken := givenPorts.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

// givenPorts are those that tests of this process use.
var givenPorts sync.Map

// server is a running process.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string
	client *clientv3.Client
}

func start(t testing.TB, bin, dir string, p ports, args ...string) *server {
	t.Helper()
	client := fmt.Sprintf("http://127.0.0.1:%d", p.client)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
	all := append([]string{
		"--name=m", "--data-dir=" + dir,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=m=" + peer,
	}, args...)
	cmd := exec.Command(bin, all...)
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.Close()
	s := &server{t: t, cmd: cmd, url: client}
	t.Cleanup(func() { s.kill() })
	s.await(dir + ".log")
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{client}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client = c
	t.Cleanup(func() { c.Close() })
	return s
}

func (s *server) await(log string) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		resp, err := http.Get(s.url + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if s.cmd.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log)
	s.t.Fatalf("the server did not become healthy; its log:\n%s", text)
}

// awaitVersion waits until the storage says the cluster's version: a moment after the start.
func awaitVersion(t testing.TB, s *server) {
	t.Helper()
	poll(t, 20*time.Second, func() error {
		status, err := s.client.Status(ctx(t), s.url)
		if err == nil && status.StorageVersion != "3.7.0" {
			err = fmt.Errorf("the storage says version %q", status.StorageVersion)
		}
		return err
	})
}

func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		s.t.Fatal("the server did not stop within 15 s of SIGTERM")
	}
}

func ctx(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}
