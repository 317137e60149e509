package interop

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// longTime is how long a line stays long at least.
	longTime = 6 * time.Second
	// wideRecoveryMax has room for votes that are split, which is likelier while they are on their way
	// for longer.
	wideRecoveryMax = 8 * electionTimeout
	// lateMax is by how much frames may be late in a test that says who must lead: beyond that this
	// machine had no time, and the members' clocks went on.
	lateMax = 200 * time.Millisecond
)

// farAway is a line to another continent, leaky one that loses some of what it carries as well, and
// wide one of those between members in three places: between two of them it is 50 ms.
var (
	farAway = line{delay: 150 * time.Millisecond, jitter: 30 * time.Millisecond}
	leaky   = line{delay: 150 * time.Millisecond, jitter: 30 * time.Millisecond, loss: 0.01}
	wide    = line{delay: 25 * time.Millisecond}
)

// longLink moves a member far away. As long as nothing is lost on the way, whoever leads goes on.
func (x *trial) longLink(what string, n *node, l line) {
	x.t.Helper()
	leader, term := x.led()
	since := time.Now()
	x.netns.stretch(n.number, l)
	<-time.After(time.Until(since.Add(longTime)))
	x.recovers(what+", first answer after a while", time.Now())
	x.pauses(what, since)
	late := x.netns.late()
	if now, then := x.led(); now != leader || then != term {
		said := fmt.Sprintf("%s: %x led in term %d, %x does in term %d; frames were late by %v", what, leader, term, now, then, late)
		if l.loss == 0 && late < lateMax {
			x.t.Error(said)
		}
		x.t.Log(said)
	}
	x.heal(what)
}

// led is who leads in which term, as those tell who know the newest.
func (x *trial) led() (leader, term uint64) {
	x.t.Helper()
	client := x.c.dial()
	defer client.Close()
	poll(x.t, 30*time.Second, func() error {
		for _, n := range x.c.nodes {
			resp, err := client.Status(short(x.t), n.client)
			if err != nil {
				return err
			}
			if resp.RaftTerm < term || resp.Leader == 0 {
				return fmt.Errorf("%s follows %x in term %d, others in %d", n.name, resp.Leader, resp.RaftTerm, term)
			}
			leader, term = resp.Leader, resp.RaftTerm
		}
		return nil
	})
	return leader, term
}

// The same as with other faults while one member is far away, be it the one who leads.
func TestNetnsFarAway(t *testing.T) {
	t.Parallel()
	for _, each := range []struct {
		members int
		line    line
		what    string
	}{{3, farAway, ""}, {5, farAway, ""}, {3, leaky, ", leaky"}} {
		t.Run(fmt.Sprint(each.members, each.what), func(t *testing.T) {
			t.Parallel()
			x := newTrialOn(t, newLongNetns(t, line{}), each.members, false)
			leader, _ := x.sides()
			x.longLink("long link of the leader"+each.what, leader, each.line)
			_, others := x.sides()
			x.longLink("long link of a follower"+each.what, others[0], each.line)
			x.finish()
		})
	}
}

// The same between members all of which are away from each other.
func TestNetnsWide(t *testing.T) {
	t.Parallel()
	for _, members := range []int{3, 5} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			x := newTrialOn(t, newLongNetns(t, wide), members, true)
			x.recoveryMax = wideRecoveryMax
			x.leaderKilled()
			x.followerKilled()
			x.parted("minority with the leader cut off", true, viewAll)
			x.finish()
		})
	}
}

// pace is how many requests were answered in a second, and how long one took.
type pace struct {
	perSecond    float64
	median, most time.Duration
}

func (p pace) String() string {
	return fmt.Sprintf("%6.0f a second, median %4d ms, longest %4d ms", p.perSecond, p.median.Milliseconds(), p.most.Milliseconds())
}

// measure has so many clients ask a cluster for a while, shared out among these members.
func measure(c *cluster, nodes []*node, clients int, ask func(limited context.Context, client *clientv3.Client, number int) error) pace {
	c.t.Helper()
	const warm, measured = time.Second, 2 * time.Second
	running, stop := context.WithCancel(context.Background())
	defer stop()
	var askers sync.WaitGroup
	var failed atomic.Pointer[error]
	begun := time.Now()
	took := make([][]time.Duration, clients)
	var through []*clientv3.Client
	for _, n := range nodes {
		through = append(through, c.dial(n))
	}
	for i := range clients {
		askers.Add(1)
		go func() {
			defer askers.Done()
			for running.Err() == nil {
				limited, done := context.WithTimeout(context.Background(), 20*time.Second)
				since := time.Now()
				err := ask(limited, through[i%len(through)], i)
				done()
				if err != nil {
					failed.Store(&err)
					return
				}
				if now := time.Now(); now.Sub(begun) > warm && running.Err() == nil {
					took[i] = append(took[i], now.Sub(since))
				}
			}
		}()
	}
	<-time.After(warm + measured)
	stop()
	askers.Wait()
	if err := failed.Load(); err != nil {
		c.t.Fatal(*err)
	}
	var all []time.Duration
	for _, some := range took {
		all = append(all, some...)
	}
	if len(all) == 0 {
		c.t.Fatal("nothing was answered")
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return pace{float64(len(all)) / measured.Seconds(), all[len(all)/2], all[len(all)-1]}
}

// putBytes is a request that puts so many bytes under one of a few keys.
func putBytes(count int) func(limited context.Context, client *clientv3.Client, number int) error {
	value := string(make([]byte, count))
	return func(limited context.Context, client *clientv3.Client, number int) error {
		_, err := client.Put(limited, fmt.Sprintf("pace-%d", number), value)
		return err
	}
}

// catchesUp starts a member and gives the time until it has what another one has.
func (c *cluster) catchesUp(n, other *node) time.Duration {
	c.t.Helper()
	goal, err := c.dial(other).Get(ctx(c.t), "any")
	if err != nil {
		c.t.Fatal(err)
	}
	since := time.Now()
	n.start()
	client := c.dial(n)
	poll(c.t, 60*time.Second, func() error {
		got, err := client.Get(short(c.t), "any", clientv3.WithSerializable())
		if err == nil && got.Header.Revision < goal.Header.Revision {
			err = fmt.Errorf("%s is at revision %d of %d", n.name, got.Header.Revision, goal.Header.Revision)
		}
		return err
	})
	return time.Since(since)
}

// Many clients of members that are away from each other get as much done as with etcd's: what is
// under way does not wait for what went before.
func TestNetnsWidePace(t *testing.T) {
	t.Parallel()
	loads := []struct {
		what    string
		clients int
		ask     func(limited context.Context, client *clientv3.Client, number int) error
	}{
		{"64 clients put", 64, putBytes(16)},
		{"64 clients put 16 KiB", 64, putBytes(16 << 10)},
		{"64 clients get", 64, func(limited context.Context, client *clientv3.Client, number int) error {
			_, err := client.Get(limited, fmt.Sprintf("pace-%d", number), clientv3.WithKeysOnly())
			return err
		}},
	}
	paces, catches := map[byte][]pace{}, map[byte]time.Duration{}
	for _, kind := range []byte("oe") {
		c := newNetnsCluster(t, newLongNetns(t, wide), string([]byte{kind, kind, kind})).start()
		c.lead(c.nodes[0])
		for _, load := range loads {
			paces[kind] = append(paces[kind], measure(c, c.nodes, load.clients, load.ask))
		}
		c.nodes[2].kill()
		measure(c, c.nodes[:2], 64, putBytes(16<<10))
		catches[kind] = c.catchesUp(c.nodes[2], c.nodes[0])
		for _, n := range c.nodes {
			n.kill()
		}
	}
	for i, load := range loads {
		ours, theirs := paces['o'][i], paces['e'][i]
		ratio := ours.perSecond / theirs.perSecond
		t.Logf("%-22s ours %v; etcd's %v; ratio %.2f", load.what, ours, theirs, ratio)
		if ratio < 0.5 {
			t.Errorf("%s: ours do %.2f of what etcd's do", load.what, ratio)
		}
	}
	t.Logf("a member that was away has caught up after %d ms; etcd's after %d ms", catches['o'].Milliseconds(), catches['e'].Milliseconds())
	if catches['o'] > rejoinMax {
		t.Errorf("a member that was away took %v to catch up", catches['o'])
	}
}
