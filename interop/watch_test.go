package interop

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

func watchStream(t *testing.T, s *server) pb.Watch_WatchClient {
	t.Helper()
	// As etcd's client: a response to a watcher that is behind may be long.
	stream, err := pb.NewWatchClient(s.client.ActiveConnection()).Watch(ctx(t), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// Progress says nothing about a revision before a watcher's start.
func TestProgressBeforeTheStart(t *testing.T) {
	p := newPair(t)
	progress := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	for _, ahead := range []int64{0, 1, 2} {
		var told [2]string
		for i, s := range p.both {
			now, err := s.client.Get(ctx(t), "x")
			if err != nil {
				t.Fatal(err)
			}
			start := now.Header.Revision + ahead
			script := []any{
				create(&pb.WatchCreateRequest{Key: []byte("quiet"), StartRevision: start}), 1,
				progress, "a", progress, "b", progress, 1,
			}
			if ahead == 0 {
				// This one catches up first, in etcd up to 100 ms later.
				script = script[:2]
			}
			told[i] = collect(t, s, script, 0)
		}
		if told[0] != told[1] {
			t.Errorf("%d ahead\netcd:\n%s\nours:\n%s", ahead, told[0], told[1])
		}
	}
}

// residentBytes is a process's memory that is in use.
func residentBytes(t *testing.T, s *server) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		t.Skip("skipped: there is no /proc")
	}
	var all, resident int64
	if _, err := fmt.Sscan(string(text), &all, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// Clients that do not read cost little, and miss nothing when they do.
func TestSlowWatchers(t *testing.T) {
	const streams, puts, size = 8, 120, 256 << 10
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t))
	var slow []pb.Watch_WatchClient
	for range streams {
		stream := watchStream(t, s)
		if err := stream.Send(create(&pb.WatchCreateRequest{Key: []byte("k")})); err != nil {
			t.Fatal(err)
		}
		if created, err := stream.Recv(); err != nil || !created.Created {
			t.Fatal(created, err)
		}
		slow = append(slow, stream)
	}
	value := strings.Repeat("x", size)
	var revisions []int64
	for range puts {
		put, err := s.client.Put(ctx(t), "k", value)
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, put.Header.Revision)
	}
	// The writes themselves stay in the log and the database's buffers for a while.
	if used := residentBytes(t, s); used > 300<<20 {
		t.Errorf("%d MiB", used>>20)
	}
	for _, stream := range slow {
		var seen []int64
		for len(seen) < puts {
			resp, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range resp.Events {
				seen = append(seen, ev.Kv.ModRevision)
			}
		}
		if !slices.Equal(seen, revisions) {
			t.Fatalf("%v instead of %v", seen, revisions)
		}
	}
}

// A client that asks on and on and never reads comes to a halt, as at etcd, and goes on once it reads.
func TestWatchClientThatOnlyAsks(t *testing.T) {
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t))
	stream := watchStream(t, s)
	var sent atomic.Int64
	go func() {
		for stream.Send(create(&pb.WatchCreateRequest{Key: []byte("k")})) == nil {
			sent.Add(1)
		}
	}()
	for before := int64(-1); before != sent.Load(); time.Sleep(time.Second) {
		before = sent.Load()
	}
	halted := sent.Load()
	if used := residentBytes(t, s); used > 1<<30 {
		t.Fatalf("%d MiB after %d requests", used>>20, halted)
	}
	if halted > 2_000_000 {
		// On a busy machine requests pile up before their answers do, and the stream is cut off: what
		// comes is not looked at any more, and costs no memory. NOTES.md knows of it.
		return
	}
	if _, err := s.client.Put(ctx(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for sent.Load() == halted {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
}

// As soon as the server is healthy it keeps leases alive.
func TestKeepAliveRightAfterStart(t *testing.T) {
	dir, p := t.TempDir()+"/data", freePorts(t)
	s := start(t, ours(t), dir, p)
	lease, err := s.client.Grant(ctx(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.stop()
		s = start(t, ours(t), dir, p, "--feature-gates=LeaseCheckpoint=true")
		if _, err := s.client.Get(ctx(t), "k"); err != nil {
			t.Fatal(err)
		}
		stream, err := pb.NewLeaseClient(s.client.ActiveConnection()).LeaseKeepAlive(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease.ID)}); err != nil {
			t.Fatal(err)
		}
		if told, err := stream.Recv(); err != nil || told.TTL != 60 {
			t.Fatal(told, err)
		}
	}
}
