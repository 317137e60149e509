package interop

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	httptypes "go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

const (
	peerCluster = 0xc1
	goID        = 0xa
	ourID       = 0xb
	// patience bounds every wait.
	patience = 20 * time.Second
)

// peerEcho is our transport without a member; HOLDFAST_PEER_ECHO, or what cargo built.
func peerEcho(t testing.TB) string {
	t.Helper()
	candidates := []string{
		os.Getenv("HOLDFAST_PEER_ECHO"), "../target/release/examples/peer_echo", "../target/debug/examples/peer_echo",
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); path != "" && err == nil {
			abs, _ := filepath.Abs(path)
			return abs
		}
	}
	const help = "there is no peer_echo; build it with `cargo build -p peer --example peer_echo` or set HOLDFAST_PEER_ECHO"
	if os.Getenv("HOLDFAST_REQUIRE") != "" {
		t.Fatal(help)
	}
	t.Skip("skipped: " + help)
	return ""
}

// echo is a running peer_echo.
type echo struct {
	t     testing.TB
	dir   string
	url   string
	stdin io.Writer
	lines chan string
	// unread are lines that came while another was waited for.
	unread []string
}

func startEcho(t testing.TB) *echo {
	t.Helper()
	return startEchoAs(t, ourID, peerCluster, "127.0.0.1:0")
}

func startEchoAs(t testing.TB, id, cluster uint64, address string) *echo {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(peerEcho(t), fmt.Sprintf("%x", id), fmt.Sprintf("%x", cluster), dir, address)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	stderr, err := os.Create(dir + ".log")
	must(t, err)
	cmd.Stderr = stderr
	must(t, cmd.Start())
	e := &echo{t: t, dir: dir, stdin: stdin, lines: make(chan string, 1<<16)}
	go func() {
		lines := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				close(e.lines)
				return
			}
			e.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("peer_echo ended with %v", err)
		}
		stderr.Close()
		if text, _ := os.ReadFile(dir + ".log"); t.Failed() {
			t.Logf("peer_echo said:\n%s", text)
		}
	})
	e.url = "http://" + e.expect("listening ")
	return e
}

func (e *echo) tell(format string, args ...any) {
	e.t.Helper()
	_, err := fmt.Fprintf(e.stdin, format+"\n", args...)
	must(e.t, err)
}

// expect is the rest of the next line that begins so.
func (e *echo) expect(prefix string) string {
	e.t.Helper()
	for i, line := range e.unread {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			e.unread = append(e.unread[:i], e.unread[i+1:]...)
			return rest
		}
	}
	late := time.After(patience)
	for {
		select {
		case line, ok := <-e.lines:
			if !ok {
				e.t.Fatalf("peer_echo ended; %q was expected", prefix)
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return rest
			}
			e.unread = append(e.unread, line)
		case <-late:
			e.t.Fatalf("peer_echo does not say %q; it said %q", prefix, e.unread)
		}
	}
}

// forget drops what was said so far.
func (e *echo) forget() {
	e.unread = nil
	for {
		select {
		case <-e.lines:
			continue
		default:
			return
		}
	}
}

func (e *echo) message() *raftpb.Message {
	e.t.Helper()
	return decoded(e.t, e.expect("message "))
}

func (e *echo) send(m *raftpb.Message) {
	e.t.Helper()
	e.tell("send %s", encoded(e.t, m))
}

// awaitStreams returns once the peer holds both of our streams.
func (e *echo) awaitStreams() {
	e.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		e.tell("stats")
		if strings.HasSuffix(e.expect("stats "), " 2") {
			return
		}
	}
	e.t.Fatal("etcd's transport did not ask for our streams")
}

// goMember is etcd's transport without a member.
type goMember struct {
	t         testing.TB
	transport *rafthttp.Transport
	url       string
	dir       string
	messages  chan *raftpb.Message
	// snapshots are the reports of what became of those that were sent.
	snapshots chan raft.SnapshotStatus

	mu      sync.Mutex
	removed map[uint64]bool
}

func startGoMember(t testing.TB) *goMember {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g := &goMember{
		t: t, url: "http://" + listener.Addr().String(), dir: t.TempDir(),
		messages: make(chan *raftpb.Message, 1<<16), snapshots: make(chan raft.SnapshotStatus, 16),
		removed: map[uint64]bool{},
	}
	urls, err := types.NewURLs([]string{g.url})
	must(t, err)
	g.transport = &rafthttp.Transport{
		Logger: zap.NewNop(), DialTimeout: 2 * time.Second, ID: goID, URLs: urls, ClusterID: peerCluster, Raft: g,
		Snapshotter: snap.New(zap.NewNop(), g.dir), ErrorC: make(chan error, 16),
		ServerStats: stats.NewServerStats("", ""), LeaderStats: stats.NewLeaderStats(nil, "a"),
	}
	must(t, g.transport.Start())
	server := &http.Server{
		Handler: g.transport.Handler(), ReadTimeout: 5 * time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		g.transport.Stop()
	})
	return g
}

// Process checks what a member checks.
func (g *goMember) Process(_ context.Context, m *raftpb.Message) error {
	if g.IsIDRemoved(m.GetFrom()) {
		return httptypes.NewHTTPError(http.StatusForbidden, "cannot process message from removed member")
	}
	if m.GetTo() != goID {
		return httptypes.NewHTTPError(http.StatusForbidden, "cannot process message to mismatch member")
	}
	g.messages <- m
	return nil
}

func (g *goMember) IsIDRemoved(id uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.removed[id]
}

func (g *goMember) remove(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removed[id] = true
}

func (g *goMember) ReportUnreachable(uint64) {}

func (g *goMember) ReportSnapshot(_ uint64, status raft.SnapshotStatus) { g.snapshots <- status }

func (g *goMember) message() *raftpb.Message {
	g.t.Helper()
	return receive(g.t, g.messages)
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// proxy stands between the two, so that connections can be cut.
type proxy struct {
	url      string
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{url: "http://" + listener.Addr().String(), listener: listener}
	t.Cleanup(func() { listener.Close(); p.cut() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(to, "http://"))
			if err != nil {
				near.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, near, far)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
			go func() { _, _ = io.Copy(far, near); far.Close() }()
		}
	}()
	return p
}

// cut ends every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		conn.Close()
	}
	p.open = nil
}

// peerPair is one of each, peers of each other, with both streams in both directions.
func peerPair(t testing.TB) (*goMember, *echo) {
	t.Helper()
	g, e := startGoMember(t), startEcho(t)
	introduce(g, e, g.url, e.url)
	return g, e
}

func introduce(g *goMember, e *echo, goURL, ourURL string) {
	g.t.Helper()
	g.transport.AddPeer(ourID, []string{ourURL})
	e.tell("peer %x %s", goID, goURL)
	awaitBoth(g, e)
}

// awaitBoth returns once messages take streams both ways.
func awaitBoth(g *goMember, e *echo) {
	g.t.Helper()
	e.expect("stream a msgapp")
	e.expect("stream a message")
	// etcd's side attaches a stream just after it answers; what it sends meanwhile goes by post.
	g.transport.Send([]*raftpb.Message{toOurs(raftpb.MsgHeartbeat), toOurs(raftpb.MsgApp)})
	e.message()
	e.message()
	e.awaitStreams()
}

func toOurs(kind raftpb.MessageType) *raftpb.Message {
	return &raftpb.Message{Type: kind.Enum(), From: proto.Uint64(goID), To: proto.Uint64(ourID), Term: proto.Uint64(1)}
}

func toGo(kind raftpb.MessageType) *raftpb.Message {
	return &raftpb.Message{Type: kind.Enum(), From: proto.Uint64(ourID), To: proto.Uint64(goID), Term: proto.Uint64(1)}
}

func encoded(t testing.TB, m *raftpb.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	must(t, err)
	return hex.EncodeToString(b)
}

func decoded(t testing.TB, text string) *raftpb.Message {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	m := &raftpb.Message{}
	must(t, proto.Unmarshal(b, m))
	return m
}

func same(t testing.TB, got, want *raftpb.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("the message changed on its way:\ngot  %v\nwant %v", got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
