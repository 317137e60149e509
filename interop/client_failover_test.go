package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// What ours may take longer than etcd's, the best of a few times on a machine that others use: a timer of the
// client costs more (a second member is asked after 100 ms, a connection is given up after seconds).
const failoverMargin = 100 * time.Millisecond

// How often a call is timed until it is within the margin.
const failoverTimes = 6

// silentListener takes connections and never says anything.
func silentListener(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		var kept []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			kept = append(kept, conn)
		}
	}()
	return l.Addr().String()
}

// blackHole is an address to which no connection comes about: its listener's queue is full.
func blackHole(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 100 {
		conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue has no end")
	return ""
}

// slowProxy passes everything on, each way a little later.
func slowProxy(t testing.TB, target string, late time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	pass := func(to, from net.Conn) {
		type piece struct {
			at   time.Time
			data []byte
		}
		pieces := make(chan piece, 1024)
		go func() {
			for p := range pieces {
				time.Sleep(time.Until(p.at))
				_, _ = to.Write(p.data)
			}
			to.Close()
		}()
		for {
			buffer := make([]byte, 4096)
			n, err := from.Read(buffer)
			if err != nil {
				close(pieces)
				return
			}
			pieces <- piece{time.Now().Add(late), buffer[:n]}
		}
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			go pass(far, near)
			go pass(near, far)
		}
	}()
	return l.Addr().String()
}

// timed runs an etcdctl until it ends or prints the mark, and returns how long that took.
func timed(t testing.TB, bin string, endpoints []string, mark string, args ...string) (time.Duration, error) {
	t.Helper()
	limited, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(limited, bin, append([]string{"--endpoints=" + strings.Join(endpoints, ",")}, args...)...)
	cmd.Env = []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	out := &awaited{mark: []byte(mark), seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	// An empty transaction.
	cmd.Stdin = strings.NewReader("\n\n\n")
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if mark == "" {
		if err := cmd.Wait(); err != nil {
			return time.Since(start), fmt.Errorf("%v: %s", err, out.text.String())
		}
		return time.Since(start), nil
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	select {
	case <-out.seen:
		return time.Since(start), nil
	case <-limited.Done():
		return time.Since(start), errors.New("the mark was not printed")
	}
}

// awaited is a writer that tells when a mark was written.
type awaited struct {
	mark []byte
	text bytes.Buffer
	seen chan struct{}
	told bool
}

func (a *awaited) Write(p []byte) (int, error) {
	a.text.Write(p)
	if !a.told && len(a.mark) > 0 && bytes.Contains(a.text.Bytes(), a.mark) {
		a.told = true
		close(a.seen)
	}
	return len(p), nil
}

// failoverLines is every kind of call; what a line that goes on prints first follows after a bar.
var failoverLines = []string{
	"get k", "get k --consistency=s", "put k v", "del nothing", "txn", "member list", "lease list",
	"lease grant 60", "lease keep-alive --once LEASE", "get k --stream", "compaction 1 --command-timeout=5s",
	"watch k --rev=2 | k", "lease keep-alive LEASE | keepalived",
}

// failover compares both etcdctls with a bad endpoint before the good ones.
func failover(t *testing.T, name string, endpoints []string, lease string, lines []string) {
	t.Helper()
	reference, mine := tool(t, "etcdctl"), oursCtl(t)
	for _, line := range lines {
		line, mark, _ := strings.Cut(strings.ReplaceAll(line, "LEASE", lease), " | ")
		best := map[string]time.Duration{}
		for range failoverTimes {
			if best[mine] != 0 && best[mine] <= best[reference]+failoverMargin {
				break
			}
			for _, bin := range []string{reference, mine} {
				took, err := timed(t, bin, endpoints, mark, strings.Fields(line)...)
				if err != nil && !strings.Contains(err.Error(), "compacted") {
					t.Errorf("%s, %s: %s failed after %v: %v", name, line, filepath.Base(filepath.Dir(bin)), took, err)
					return
				}
				if best[bin] == 0 || took < best[bin] {
					best[bin] = took
				}
			}
		}
		t.Logf("%s, %s: etcd's takes %v, ours %v", name, line, best[reference], best[mine])
		if best[mine] > best[reference]+failoverMargin {
			t.Errorf("%s, %s: etcd's takes %v, ours %v", name, line, best[reference], best[mine])
		}
	}
}

// TestClientFailover times both etcdctls where the first endpoint takes no connection, says nothing,
// is closed, or is slow.
func TestClientFailover(t *testing.T) {
	p := freePorts(t)
	s := start(t, ours(t), filepath.Join(t.TempDir(), "d"), p)
	good := fmt.Sprintf("127.0.0.1:%d", p.client)
	if _, err := s.client.Put(ctx(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	lease, err := s.client.Grant(ctx(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%x", lease.ID)
	bad := map[string]string{
		"black hole": blackHole(t), "silent": silentListener(t),
		"closed": fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		"slow":   slowProxy(t, good, 300*time.Millisecond),
	}
	for name, first := range bad {
		t.Run(name, func(t *testing.T) {
			failover(t, name, []string{first, good}, id, failoverLines)
		})
	}
}

// TestClientFailoverFromStopped times both etcdctls where the first endpoint is a member of a cluster
// that was stopped: a follower, then the leader. What waits for an election waits with both.
func TestClientFailoverFromStopped(t *testing.T) {
	c := newCluster(t, bins(t, "ooo")).start()
	client := c.dial(c.nodes...)
	if _, err := client.Put(ctx(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	lease, err := client.Grant(ctx(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	leader := c.leader()
	follower := c.nodes[0]
	if follower == leader {
		follower = c.nodes[1]
	}
	for _, stopped := range []*node{follower, leader} {
		if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		endpoints := []string{stopped.client}
		for _, n := range c.nodes {
			if n != stopped {
				endpoints = append(endpoints, n.client)
			}
		}
		// The others need a leader before anything is measured.
		poll(t, 30*time.Second, func() error {
			_, err := timed(t, tool(t, "etcdctl"), endpoints[1:], "", "put", "k", "v")
			return err
		})
		failover(t, "stopped "+stopped.name, endpoints, fmt.Sprintf("%x", lease.ID), failoverLines)
		if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClientIdleIsLetAlone holds a watch that has nothing to show against the real server, which
// closes connections that ask too often whether it lives.
func TestClientIdleIsLetAlone(t *testing.T) {
	p := freePorts(t)
	dir := filepath.Join(t.TempDir(), "d")
	s := start(t, tool(t, "etcd"), dir, p)
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	cmd := exec.Command(oursCtl(t), "--endpoints="+endpoint, "watch", "k")
	out := &awaited{mark: []byte("late"), seen: make(chan struct{})}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// Three pings at the interval that the flag asks for, and more at the one that servers allow.
	streams := func() string { return metricOf(t, s.url, "etcd_network_client_grpc_received_bytes_total") }
	poll(t, 10*time.Second, func() error {
		if streams() == "0" {
			return errors.New("the watch did not arrive")
		}
		return nil
	})
	before := streams()
	time.Sleep(13 * time.Second)
	if after := streams(); after != before {
		t.Errorf("the watch was created again: %s bytes, then %s", before, after)
	}
	if _, err := s.client.Put(ctx(t), "k", "late"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.seen:
	case <-time.After(10 * time.Second):
		t.Error("the watch shows nothing")
	}
}

// metricOf is a number on a member's page.
func metricOf(t testing.TB, url, name string) string {
	t.Helper()
	page := run(t, "curl", "-s", url+"/metrics")
	for _, line := range strings.Split(page, "\n") {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return value
		}
	}
	return "0"
}

// withAuth starts etcd's server with a user root whose tokens live for a second.
func withAuth(t *testing.T) (*server, string) {
	t.Helper()
	p := freePorts(t)
	s := start(t, tool(t, "etcd"), filepath.Join(t.TempDir(), "d"), p, "--auth-token-ttl=1")
	for _, err := range []error{
		second(s.client.UserAdd(ctx(t), "root", "pw")),
		second(s.client.UserGrantRole(ctx(t), "root", "root")),
		second(s.client.Put(ctx(t), "k", "v")),
		second(s.client.AuthEnable(ctx(t))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, fmt.Sprintf("127.0.0.1:%d", p.client)
}

func second[T any](_ T, err error) error { return err }

// TestClientStreamsCarryTheToken runs every stream against a server that asks who calls, and begins
// a watch with a client whose token has expired.
func TestClientStreamsCarryTheToken(t *testing.T) {
	s, endpoint := withAuth(t)
	root, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.url}, Username: "root", Password: "pw", Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	lease, err := root.Grant(ctx(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	mine, user := oursCtl(t), "--user=root:pw"
	for _, line := range []string{
		"get k", "get k --stream", "snapshot save " + filepath.Join(t.TempDir(), "s"),
		fmt.Sprintf("lease keep-alive --once %x", lease.ID), "watch k --rev=1 | k", "endpoint status", "endpoint health",
	} {
		line, mark, _ := strings.Cut(line, " | ")
		if _, err := timed(t, mine, []string{endpoint}, mark, append([]string{user}, strings.Fields(line)...)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	want, got := ctl(t, tool(t, "etcdctl"), endpoint, "", "watch", "k"), ctl(t, mine, endpoint, "", "watch", "k")
	if want != got || want.code == 0 {
		t.Errorf("a watch without a token: %+v, etcd's: %+v", got, want)
	}

	cmd := exec.Command(mine, "--endpoints="+endpoint, user, "watch", "-i")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &awaited{mark: []byte("fresh"), seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// The server forgets a token that nobody uses for its time to live.
	time.Sleep(3 * time.Second)
	if _, err := fmt.Fprintln(stdin, "watch k --rev=1"); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Put(ctx(t), "k", "fresh"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.seen:
	case <-time.After(10 * time.Second):
		t.Errorf("a watch with an expired token shows nothing: %s", out.text.String())
	}
}
