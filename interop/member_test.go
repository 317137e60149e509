package interop

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// state is everything a client can read: keys with their revisions, leases, hashes.
func state(t testing.TB, s *server) string {
	t.Helper()
	all, err := s.client.Get(ctx(t), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "revision %d\n", all.Header.Revision)
	for _, kv := range all.Kvs {
		fmt.Fprintf(&out, "%s=%s %d %d %d %x\n", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
	}
	leases, err := s.client.Leases(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(leases.Leases, func(i, j int) bool { return leases.Leases[i].ID < leases.Leases[j].ID })
	for _, l := range leases.Leases {
		ttl, err := s.client.TimeToLive(ctx(t), l.ID, clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "lease %x granted %d keys %d\n", l.ID, ttl.GrantedTTL, len(ttl.Keys))
	}
	for rev := max(all.Header.Revision-20, 1); rev <= all.Header.Revision; rev++ {
		hash, err := s.client.HashKV(ctx(t), s.url, rev)
		if err == nil && compacted(s, rev) {
			// The hash kept from the compaction is forgotten by a restart, as in etcd.
			continue
		}
		if err != nil {
			fmt.Fprintf(&out, "hash %d: %v\n", rev, err)
			continue
		}
		fmt.Fprintf(&out, "hash %d: %d\n", rev, hash.Hash)
	}
	members, err := s.client.MemberList(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members.Members {
		fmt.Fprintf(&out, "member %x %s %v %v\n", m.ID, m.Name, m.PeerURLs, m.ClientURLs)
	}
	return out.String()
}

// compacted tells whether history up to rev is gone: the revision before it cannot be read.
func compacted(s *server, rev int64) bool {
	_, err := s.client.Get(context.Background(), "x", clientv3.WithRev(rev-1))
	return err == rpctypes.ErrCompacted
}

func mixedLoad(t testing.TB, s *server, seed int64, n int) {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	lease, err := s.client.Grant(ctx(t), 5000)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		key := fmt.Sprintf("key-%d", r.Intn(40))
		switch r.Intn(6) {
		case 0:
			_, err = s.client.Delete(ctx(t), key)
		case 1:
			_, err = s.client.Put(ctx(t), key, fmt.Sprint(r.Int()), clientv3.WithLease(lease.ID))
		case 2:
			_, err = s.client.Txn(ctx(t)).If(clientv3.Compare(clientv3.Version(key), ">", 2)).
				Then(clientv3.OpDelete(key), clientv3.OpPut("t"+key, "x")).Else(clientv3.OpPut(key, "y")).Commit()
		default:
			_, err = s.client.Put(ctx(t), key, fmt.Sprint(r.Int()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.client.Get(ctx(t), "key-0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Compact(ctx(t), got.Header.Revision-15, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// One data directory, handed from ours to etcd and back, by SIGTERM and by SIGKILL: what clients
// read is the same before and after each change of hands.
func TestHandOver(t *testing.T) {
	bins := []string{ours(t), tool(t, "etcd")}
	dir, p := t.TempDir()+"/data", freePorts(t)
	var before string
	for round := range 6 {
		s := start(t, bins[round%2], dir, p, "--snapshot-count=100")
		if now := state(t, s); round > 0 && now != before {
			t.Fatalf("round %d: before\n%s\nafter\n%s", round, before, now)
		}
		mixedLoad(t, s, int64(round), 300)
		if before = state(t, s); round%3 == 2 {
			s.kill()
		} else {
			s.stop()
		}
		out := run(t, tool(t, "bbolt"), "check", filepath.Join(dir, "member/snap/db"))
		if !strings.Contains(out, "OK") {
			t.Fatal(out)
		}
	}
}

func TestSnapshotRestoresIntoEtcd(t *testing.T) {
	bin, utl := ours(t), tool(t, "etcdutl")
	s := start(t, bin, t.TempDir()+"/data", freePorts(t))
	mixedLoad(t, s, 1, 200)
	file := t.TempDir() + "/snapshot.db"
	run(t, tool(t, "etcdctl"), "--endpoints", s.url, "snapshot", "save", file)
	rev := s.revision(t)
	if out := run(t, utl, "snapshot", "status", file, "-w", "json"); !strings.Contains(out, fmt.Sprintf(`"revision":%d`, rev)) {
		t.Fatalf("status says %s, the revision is %d", out, rev)
	}
	hash, err := s.client.HashKV(ctx(t), s.url, rev)
	if err != nil {
		t.Fatal(err)
	}
	// etcdutl opens the file for writing and changes it, so it gets a copy.
	copied := file + ".copy"
	run(t, "cp", file, copied)
	if out := run(t, utl, "hashkv", copied); !strings.Contains(out, fmt.Sprint(hash.Hash)) {
		t.Fatalf("etcdutl says %s, ours %d", out, hash.Hash)
	}
	p, restored := freePorts(t), t.TempDir()+"/restored"
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
	run(t, utl, "snapshot", "restore", file, "--data-dir", restored, "--name", "m",
		"--initial-cluster", "m="+peer, "--initial-advertise-peer-urls", peer)
	other := start(t, tool(t, "etcd"), restored, p)
	if got := other.revision(t); got != rev {
		t.Fatalf("restored at revision %d, not %d", got, rev)
	}
	other.stop()
	again := start(t, bin, restored, p)
	if got := again.revision(t); got != rev {
		t.Fatalf("ours on the restored data is at revision %d, not %d", got, rev)
	}
}

func (s *server) revision(t testing.TB) int64 {
	t.Helper()
	got, err := s.client.Get(ctx(t), "any")
	if err != nil {
		t.Fatal(err)
	}
	return got.Header.Revision
}

func TestWatchFromHistoryAcrossCompaction(t *testing.T) {
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t))
	for i := range 30 {
		if _, err := s.client.Put(ctx(t), "w", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.client.Compact(ctx(t), 10); err != nil {
		t.Fatal(err)
	}
	old := <-s.client.Watch(ctx(t), "w", clientv3.WithRev(5))
	if old.CompactRevision != 10 || old.Err() != rpctypes.ErrCompacted {
		t.Fatalf("%+v", old)
	}
	watched, cancel := context.WithCancel(ctx(t))
	defer cancel()
	events := s.client.Watch(watched, "w", clientv3.WithRev(10), clientv3.WithPrevKV())
	go func() {
		for i := 30; i < 60; i++ {
			_, _ = s.client.Put(watched, "w", fmt.Sprint(i))
		}
		_, _ = s.client.Delete(watched, "w")
	}()
	next := int64(10)
	for next <= 62 {
		resp := <-events
		if resp.Err() != nil {
			t.Fatal(resp.Err())
		}
		for _, ev := range resp.Events {
			if ev.Kv.ModRevision != next {
				t.Fatalf("event of revision %d where %d must be", ev.Kv.ModRevision, next)
			}
			if next > 11 && string(ev.PrevKv.GetValue()) != fmt.Sprint(next-3) {
				t.Fatalf("revision %d has the previous value %q", next, ev.PrevKv.GetValue())
			}
			if last := ev.Type == mvccpb.Event_DELETE; last != (next == 62) {
				t.Fatalf("event %v at %d", ev.Type, next)
			}
			next++
		}
	}
	if err := s.client.RequestProgress(watched); err != nil {
		t.Fatal(err)
	}
	if resp := <-events; !resp.IsProgressNotify() || resp.Header.Revision != 62 {
		t.Fatalf("%+v", resp)
	}
}

func TestLeasesExpireAndLive(t *testing.T) {
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t))
	short, err := s.client.Grant(ctx(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	long, err := s.client.Grant(ctx(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	live, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := s.client.KeepAlive(live, long.ID); err != nil {
		t.Fatal(err)
	}
	for key, id := range map[string]clientv3.LeaseID{"short": short.ID, "long": long.ID} {
		if _, err := s.client.Put(ctx(t), key, "x", clientv3.WithLease(id)); err != nil {
			t.Fatal(err)
		}
	}
	gone := <-s.client.Watch(ctx(t), "short", clientv3.WithFilterPut())
	if len(gone.Events) != 1 || gone.Events[0].Type != mvccpb.Event_DELETE {
		t.Fatalf("%+v", gone)
	}
	if got, err := s.client.Get(ctx(t), "long"); err != nil || len(got.Kvs) != 1 {
		t.Fatalf("the key of a lease that is kept alive: %v %v", got, err)
	}
	if ttl, err := s.client.TimeToLive(ctx(t), short.ID); err != nil || ttl.TTL != -1 {
		t.Fatalf("%v %v", ttl, err)
	}
}

func TestQuotaRaisesTheAlarm(t *testing.T) {
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t), "--quota-backend-bytes=2000000")
	value := strings.Repeat("x", 100_000)
	var err error
	// What counts is the file's size, and the file grows when it is committed.
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
		_, err = s.client.Put(ctx(t), "k", value)
	}
	if err != rpctypes.ErrNoSpace {
		t.Fatal(err)
	}
	alarms, err := s.client.AlarmList(ctx(t))
	if err != nil || len(alarms.Alarms) != 1 {
		t.Fatal(alarms, err)
	}
	if _, err := s.client.Delete(ctx(t), "k", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Compact(ctx(t), s.revision(t), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Defragment(ctx(t), s.url); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.AlarmDisarm(ctx(t), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Put(ctx(t), "k", "small again"); err != nil {
		t.Fatal(err)
	}
}

// Writers note what was acknowledged; the server is killed at random instants. Nothing that was
// acknowledged is lost, no revision is used twice, and hashes stay what they were.
func TestCrash(t *testing.T) {
	kills := 15
	if n := os.Getenv("HOLDFAST_KILLS"); n != "" {
		fmt.Sscan(n, &kills)
	}
	bin, dir, p := ours(t), t.TempDir()+"/data", freePorts(t)
	r := rand.New(rand.NewSource(time.Now().UnixNano()))
	var mu sync.Mutex
	acked := map[string]string{}
	revisions := map[int64]string{}
	for kill := range kills {
		s := start(t, bin, dir, p, "--snapshot-count=500")
		rev := s.revision(t)
		got, err := s.client.Get(ctx(t), "c", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, kv := range got.Kvs {
			found[string(kv.Key)] = string(kv.Value)
		}
		highest := int64(0)
		for at := range revisions {
			highest = max(highest, at)
		}
		if rev < highest {
			t.Fatalf("kill %d: revision %d was acknowledged, now it is %d", kill, highest, rev)
		}
		for key, value := range acked {
			// A later write that was not acknowledged may have been applied: values count up.
			if found[key] < value {
				t.Fatalf("kill %d: %s was acknowledged as %s and is %q", kill, key, value, found[key])
			}
		}
		hash, err := s.client.HashKV(ctx(t), s.url, rev)
		if err != nil {
			t.Fatal(err)
		}
		stop, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for n := 0; stop.Err() == nil; n++ {
					key := fmt.Sprintf("c%d-%d", w, n%20)
					value := fmt.Sprintf("%04d-%08d", kill, n)
					resp, err := s.client.Txn(stop).Then(clientv3.OpPut(key, value), clientv3.OpPut("last", key)).Commit()
					if err != nil {
						return
					}
					mu.Lock()
					if other, taken := revisions[resp.Header.Revision]; taken {
						t.Errorf("revision %d was given to %s and to %s", resp.Header.Revision, other, key)
					}
					revisions[resp.Header.Revision] = key
					acked[key] = value
					mu.Unlock()
				}
			}()
		}
		time.Sleep(time.Duration(r.Intn(300)) * time.Millisecond)
		again, err := s.client.HashKV(ctx(t), s.url, rev)
		if err == nil && again.Hash != hash.Hash {
			t.Fatalf("the hash at %d changed", rev)
		}
		s.kill()
		cancel()
		wg.Wait()
		s.client.Close()
	}
	t.Logf("%d acknowledged writes over %d kills", len(revisions), kills)
}
