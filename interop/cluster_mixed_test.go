package interop

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// Clusters of every mixture: each member leads in turn while requests of every kind go to all of
// them; then all members hold the same.
func TestMixedClusters(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"eeo", "eoo", "ooo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, kinds)).start()
			c.leader()
			load := newLoad(c)
			for _, n := range c.nodes {
				c.lead(n)
				for range mixedRounds() {
					load.progress(800)
				}
				load.alarms(n)
				load.history(n)
			}
			load.finish()
			c.sameState()
		})
	}
}

// mixedRounds is how often each leader sees 800 requests; with HOLDFAST_SOAK the load takes minutes.
func mixedRounds() int {
	if os.Getenv("HOLDFAST_SOAK") != "" {
		return 20
	}
	return 1
}

// load sends seeded requests of every kind to all members at once.
type load struct {
	c *cluster
	// wanted leaves requests out.
	wanted  func(proto.Message) bool
	cancel  context.CancelFunc
	senders sync.WaitGroup
	mu      sync.Mutex
	done    int
	rev     int64
}

func newLoad(c *cluster) *load {
	return newLoadOf(c, func(proto.Message) bool { return true })
}

// newLoadOf sends only what is wanted.
func newLoadOf(c *cluster, wanted func(proto.Message) bool) *load {
	c.t.Helper()
	running, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	l := &load{c: c, wanted: wanted, cancel: cancel, rev: 1}
	for i, n := range c.nodes {
		client, other := c.dial(n), c.dial(c.nodes[(i+1)%len(c.nodes)])
		l.senders.Add(2)
		go l.send(running, client, int64(i))
		go l.readBack(running, i, client, other)
	}
	return l
}

func (l *load) send(running context.Context, client *clientv3.Client, seed int64) {
	defer l.senders.Done()
	r := &requests{Rand: rand.New(rand.NewSource(seed)), rev: 1}
	for running.Err() == nil {
		method, in, out := r.next()
		if !l.wanted(in) {
			continue
		}
		if grant, ok := in.(*pb.LeaseGrantRequest); ok && r.Intn(2) == 0 {
			// Some expire on the way.
			grant.ID, grant.TTL = 0, 1
		}
		limited, done := context.WithTimeout(running, 5*time.Second)
		_, rev := ask(limited, client.ActiveConnection(), method, in, proto.Clone(out))
		done()
		l.mu.Lock()
		l.done++
		l.rev = max(l.rev, rev)
		r.rev = l.rev
		l.mu.Unlock()
		select {
		case <-running.Done():
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// readBack checks that a linearizable read at one member sees what another acknowledged.
func (l *load) readBack(running context.Context, i int, writer, reader *clientv3.Client) {
	defer l.senders.Done()
	for n := 0; running.Err() == nil; n++ {
		limited, done := context.WithTimeout(running, 5*time.Second)
		value := fmt.Sprint(n)
		// Below all keys that the others delete.
		key := fmt.Sprintf("a-back-%d", i)
		if _, err := writer.Put(limited, key, value); err == nil {
			got, err := reader.Get(limited, key)
			if err == nil && (len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value) {
				l.c.t.Errorf("%s was acknowledged as %s and is read as %v", key, value, got.Kvs)
			}
		}
		done()
		select {
		case <-running.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

func (l *load) progress(more int) {
	l.c.t.Helper()
	goal := l.count() + more
	poll(l.c.t, 60*time.Second, func() error {
		if now := l.count(); now < goal {
			return fmt.Errorf("%d requests are done of %d", now, goal)
		}
		return nil
	})
}

// alarms raises an alarm at one member and lowers it.
func (l *load) alarms(n *node) {
	l.c.t.Helper()
	client := l.c.dial(n)
	defer client.Close()
	id := l.c.id(n)
	conn := client.ActiveConnection()
	for _, action := range []pb.AlarmRequest_AlarmAction{pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE} {
		request := &pb.AlarmRequest{Action: action, MemberID: id, Alarm: pb.AlarmType_NOSPACE}
		poll(l.c.t, 20*time.Second, func() error {
			return conn.Invoke(short(l.c.t), "/etcdserverpb.Maintenance/Alarm", request, &pb.AlarmResponse{})
		})
	}
}

// history follows a watch at this member from an old revision to now, in order.
func (l *load) history(n *node) {
	l.c.t.Helper()
	client := l.c.dial(n)
	defer client.Close()
	l.mu.Lock()
	goal, from := l.rev, max(l.rev-100, 1)
	l.mu.Unlock()
	last := int64(0)
	for tries := 0; last < goal; tries++ {
		if tries == 20 {
			l.c.t.Fatalf("the watch at %s is at %d, not %d", n.name, last, goal)
		}
		watched := clientv3.WithRequireLeader(short(l.c.t))
		for resp := range client.Watch(watched, "", clientv3.WithPrefix(), clientv3.WithRev(from)) {
			from = max(from, resp.CompactRevision)
			for _, ev := range resp.Events {
				if ev.Kv.ModRevision < last {
					l.c.t.Fatalf("the watch at %s gave %d after %d", n.name, ev.Kv.ModRevision, last)
				}
				last = ev.Kv.ModRevision
				from = last + 1
			}
			if last >= goal {
				break
			}
		}
	}
}

func (l *load) finish() {
	l.cancel()
	l.senders.Wait()
	l.c.t.Logf("%d requests, revision %d", l.count(), l.rev)
}

// sameState compares what the members hold when nothing changes any more: a compaction and
// expiring leases may still be on their way.
func (c *cluster) sameState() {
	c.t.Helper()
	client := c.dial()
	defer client.Close()
	poll(c.t, 30*time.Second, func() error {
		leases, err := client.Leases(short(c.t))
		if err != nil {
			return err
		}
		for _, l := range leases.Leases {
			ttl, err := client.TimeToLive(short(c.t), l.ID)
			if err != nil || ttl.GrantedTTL < 100 {
				return fmt.Errorf("lease %x has not expired yet: %v", l.ID, err)
			}
		}
		return nil
	})
	poll(c.t, 30*time.Second, func() error {
		first := ""
		for i, n := range c.nodes {
			text, err := c.memberState(n)
			if err != nil {
				return err
			}
			if i == 0 {
				first = text
			} else if text != first {
				return fmt.Errorf("%s has\n%s\n%s has\n%s", c.nodes[0].name, first, n.name, text)
			}
		}
		return nil
	})
	c.sameHashes()
}

// memberState is everything that a client reads from one member alone.
func (c *cluster) memberState(n *node) (string, error) {
	client := c.dial(n)
	defer client.Close()
	var out strings.Builder
	all, err := client.Get(short(c.t), "", clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "revision %d\n", all.Header.Revision)
	for _, kv := range all.Kvs {
		fmt.Fprintf(&out, "%s=%s %d %d %d %x\n", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
	}
	leases, err := client.Leases(short(c.t))
	if err != nil {
		return "", err
	}
	sort.Slice(leases.Leases, func(i, j int) bool { return leases.Leases[i].ID < leases.Leases[j].ID })
	for _, l := range leases.Leases {
		ttl, err := client.TimeToLive(short(c.t), l.ID, clientv3.WithAttachedKeys())
		if err != nil {
			return "", err
		}
		sort.Slice(ttl.Keys, func(i, j int) bool { return string(ttl.Keys[i]) < string(ttl.Keys[j]) })
		fmt.Fprintf(&out, "lease %x granted %d keys %q\n", l.ID, ttl.GrantedTTL, ttl.Keys)
	}
	members := &pb.MemberListResponse{}
	if err := client.ActiveConnection().Invoke(short(c.t), "/etcdserverpb.Cluster/MemberList", &pb.MemberListRequest{}, members); err != nil {
		return "", err
	}
	for _, m := range members.Members {
		fmt.Fprintf(&out, "member %x %s %v %v %v\n", m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner)
	}
	alarms, err := client.AlarmList(short(c.t))
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "alarms %v\n", alarms.Alarms)
	return out.String(), nil
}
