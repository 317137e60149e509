package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// underLimit starts a server with so many file descriptors.
func underLimit(t testing.TB, bin, dir string, p ports, fds int) *exec.Cmd {
	t.Helper()
	client := fmt.Sprintf("http://127.0.0.1:%d", p.client)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
	script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, fds)
	return exec.Command("sh", "-c", script, bin, "--name=m", "--data-dir="+dir,
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=m="+peer)
}

// answers tells whether a connection gets a response to a plain request in time.
func answers(c net.Conn, wait time.Duration) bool {
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := fmt.Fprintf(c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil && resp.StatusCode == http.StatusOK
}

// Of 170 file descriptors 150 are the server's own, on both sides: the 21st client waits until one
// of the others has gone.
func TestConnectionsAreLimitedByFileDescriptors(t *testing.T) {
	for _, bin := range []string{tool(t, "etcd"), ours(t)} {
		p := freePorts(t)
		cmd := underLimit(t, bin, t.TempDir()+"/data", p, 170)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		address := fmt.Sprintf("127.0.0.1:%d", p.client)
		for deadline := time.Now().Add(30 * time.Second); ; {
			if c, err := net.Dial("tcp", address); err == nil {
				well := answers(c, 5*time.Second)
				c.Close()
				if well {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not serve", bin)
			}
			time.Sleep(10 * time.Millisecond)
		}
		// The server may not have noticed yet that the last one went.
		time.Sleep(100 * time.Millisecond)
		var open []net.Conn
		for range 20 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !answers(c, 5*time.Second) {
				t.Fatalf("%s: connection %d is not served", bin, len(open)+1)
			}
			open = append(open, c)
		}
		late, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		if answers(late, 300*time.Millisecond) {
			t.Fatalf("%s: one connection too many is served", bin)
		}
		open[3].Close()
		_ = late.SetDeadline(time.Now().Add(5 * time.Second))
		if resp, err := http.ReadResponse(bufio.NewReader(late), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: the one that waited: %v %v", bin, resp, err)
		}
	}
}

func TestTooFewFileDescriptorsAreRefused(t *testing.T) {
	for _, bin := range []string{tool(t, "etcd"), ours(t)} {
		out, err := underLimit(t, bin, t.TempDir()+"/data", freePorts(t), 150).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("file descriptor limit of etcd process is too low; please set higher")) {
			t.Errorf("%s: %v\n%s", bin, err, out)
		}
	}
}

// Streams beyond the limit of a connection wait in the client until one of the others ends.
func TestStreamsOfAConnectionAreLimited(t *testing.T) {
	p := newPair(t, "--max-concurrent-streams=3")
	for i, s := range p.both {
		watch := pb.NewWatchClient(s.client.ActiveConnection())
		var cancels []context.CancelFunc
		for range 3 {
			held, cancel := context.WithCancel(ctx(t))
			defer cancel()
			cancels = append(cancels, cancel)
			stream, err := watch.Watch(held)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("x")}}}); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if _, err := s.client.Get(short, "x"); err == nil || !strings.Contains(err.Error(), "deadline") {
			t.Fatalf("server %d: a fourth stream: %v", i, err)
		}
		cancels[0]()
		if _, err := s.client.Get(ctx(t), "x"); err != nil {
			t.Fatalf("server %d: after one has ended: %v", i, err)
		}
	}
}

// stalled asks for everything and never reads: its windows stay shut.
func stalled(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	var fields bytes.Buffer
	encoder := hpack.NewEncoder(&fields)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", kvService + "Range"}, {":authority", address},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(c, c)
	message := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
	for _, err := range []error{
		framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, message),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func resident(t testing.TB, s *server) float64 {
	t.Helper()
	found := scrape(t, s)["process_resident_memory_bytes"]
	bytes, err := strconv.ParseFloat(found.values["process_resident_memory_bytes"], 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// Forty clients that ask for 64 MB each and read nothing do not make the server hold 2.5 GB, nor
// keep others from what is small; when they have gone, large answers are given again.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const clients, limit = 40, 1 << 30
	p := freePorts(t)
	s := start(t, ours(t), t.TempDir()+"/data", p)
	value := strings.Repeat("x", 1<<20)
	for i := range 64 {
		if _, err := s.client.Put(ctx(t), fmt.Sprintf("k%02d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	var open []net.Conn
	for range clients {
		c := stalled(t, fmt.Sprintf("127.0.0.1:%d", p.client))
		defer c.Close()
		open = append(open, c)
	}
	highest := 0.0
	for range 30 {
		highest = max(highest, resident(t, s))
		if _, err := s.client.Get(ctx(t), "k07"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d MB at most", int(highest)>>20)
	if highest > limit {
		t.Errorf("%d MB for answers that nobody reads", int(highest)>>20)
	}
	for _, c := range open {
		c.Close()
	}
	all, err := s.client.Get(ctx(t), "", clientv3.WithPrefix())
	if err != nil || len(all.Kvs) != 64 {
		t.Fatal(err)
	}
}

// anonymous is the memory of a server that belongs to no file, in bytes.
func anonymous(t testing.TB, s *server) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "RssAnon:" {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no anonymous memory")
	return 0
}

// A large answer takes its own size of memory, also while it is made.
func TestALargeRangeIsMadeInPieces(t *testing.T) {
	const keys = 150
	p, dir := freePorts(t), t.TempDir()+"/data"
	s := start(t, ours(t), dir, p, "--snapshot-count=1")
	value := strings.Repeat("x", 1<<20)
	for i := range keys {
		if _, err := s.client.Put(ctx(t), fmt.Sprintf("k%03d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	// Once a snapshot is recorded that covers all, a restart reads hardly any of the log.
	poll(t, 20*time.Second, func() error {
		if _, err := s.client.Put(ctx(t), "last", ""); err != nil {
			return err
		}
		if found, _ := filepath.Glob(dir + "/member/snap/*.snap"); len(found) > 0 {
			_, index, _ := strings.Cut(strings.TrimSuffix(filepath.Base(found[len(found)-1]), ".snap"), "-")
			if index, err := strconv.ParseUint(index, 16, 64); err == nil && index > keys {
				return nil
			}
		}
		return errors.New("no snapshot of everything yet")
	})
	s.stop()
	s = start(t, ours(t), dir, p)
	if _, err := s.client.Get(ctx(t), "k000"); err != nil {
		t.Fatal(err)
	}
	before := anonymous(t, s)
	c := stalled(t, fmt.Sprintf("127.0.0.1:%d", p.client))
	defer c.Close()
	highest, now := 0, 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second; {
		now = anonymous(t, s) - before
		highest = max(highest, now)
		time.Sleep(2 * time.Millisecond)
	}
	t.Logf("%d MB before, %d MB more at most for an answer of %d MB, %d MB in the end",
		before>>20, highest>>20, keys, now>>20)
	// A part of it takes room that was given back before.
	if now < (keys/2)<<20 {
		t.Errorf("the answer is not there: %d MB", now>>20)
	}
	if highest > (keys+keys/4)<<20 {
		t.Errorf("%d MB for an answer of %d MB", highest>>20, keys)
	}
}
