package interop

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// write is one acknowledged put.
type write struct{ key, value string }

// audit writes to a cluster while others trouble it, and notes what was acknowledged. It must be
// the only writer: then its watch sees one event for each revision.
type audit struct {
	t       testing.TB
	c       *cluster
	client  *clientv3.Client
	cancel  context.CancelFunc
	writers sync.WaitGroup
	watched chan struct{}

	mu     sync.Mutex
	acked  map[int64]write
	seen   map[int64]write
	last   int64
	failed int
}

// newAudit starts writers and a watcher.
func newAudit(c *cluster, writers int) *audit {
	c.t.Helper()
	client := c.dial()
	running, cancel := context.WithCancel(context.Background())
	a := &audit{
		t: c.t, c: c, client: client, cancel: cancel, watched: make(chan struct{}),
		acked: map[int64]write{}, seen: map[int64]write{},
	}
	var first int64
	poll(c.t, 30*time.Second, func() error {
		got, err := client.Get(short(c.t), "any")
		if err == nil {
			first = got.Header.Revision
		}
		return err
	})
	a.last = first
	c.t.Cleanup(cancel)
	whole, end := context.WithCancel(context.Background())
	c.t.Cleanup(end)
	go a.watch(whole, first+1)
	for w := range writers {
		a.writers.Add(1)
		go a.write(running, w)
	}
	return a
}

func (a *audit) write(running context.Context, w int) {
	defer a.writers.Done()
	for n := 0; running.Err() == nil; n++ {
		key, value := fmt.Sprintf("audit-%d-%d", w, n%20), fmt.Sprintf("%08d", n)
		limited, done := context.WithTimeout(context.Background(), 2*time.Second)
		resp, err := a.client.Put(limited, key, value)
		done()
		a.mu.Lock()
		if err != nil {
			a.failed++
		} else if other, taken := a.acked[resp.Header.Revision]; taken {
			a.t.Errorf("revision %d was given to %v and to %s", resp.Header.Revision, other, key)
		} else {
			a.acked[resp.Header.Revision] = write{key, value}
		}
		a.mu.Unlock()
		select {
		case <-running.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (a *audit) watch(whole context.Context, from int64) {
	defer close(a.watched)
	for resp := range a.client.Watch(whole, "", clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := resp.Err(); err != nil {
			if whole.Err() == nil {
				a.t.Errorf("the watch broke at %d: %v", a.last, err)
			}
			return
		}
		a.mu.Lock()
		for _, ev := range resp.Events {
			if ev.Type != mvccpb.Event_PUT || ev.Kv.ModRevision != a.last+1 {
				a.t.Errorf("after revision %d the watch gave %v of %d", a.last, ev.Type, ev.Kv.ModRevision)
			}
			a.last = ev.Kv.ModRevision
			a.seen[a.last] = write{string(ev.Kv.Key), string(ev.Kv.Value)}
		}
		a.mu.Unlock()
	}
}

func (a *audit) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.acked)
}

// progress waits until so many more writes were acknowledged.
func (a *audit) progress(more int) {
	a.t.Helper()
	goal := a.count() + more
	poll(a.t, 40*time.Second, func() error {
		if now := a.count(); now < goal {
			return fmt.Errorf("%d writes are acknowledged, not %d", now, goal)
		}
		return nil
	})
}

// finish stops the writers; then the watch must have seen all that was acknowledged, and every
// member must have it.
func (a *audit) finish() {
	a.t.Helper()
	a.cancel()
	a.writers.Wait()
	var rev int64
	poll(a.t, 30*time.Second, func() error {
		got, err := a.client.Get(short(a.t), "any")
		if err == nil {
			rev = got.Header.Revision
		}
		return err
	})
	stuck := time.Now().Add(25 * time.Second)
	text := func() string {
		if time.Now().Before(stuck) {
			return ""
		}
		return a.c.describe()
	}
	poll(a.t, 30*time.Second, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.last < rev {
			return fmt.Errorf("the watch is at %d, the store at %d%s", a.last, rev, text())
		}
		return nil
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for at, w := range a.acked {
		if at > rev || a.seen[at] != w {
			a.t.Errorf("%v was acknowledged at revision %d, which holds %v", w, at, a.seen[at])
		}
	}
	a.compareMembers(rev)
	a.t.Logf("%d writes acknowledged, %d failed, revision %d", len(a.acked), a.failed, rev)
}

// compareMembers reads every member's own keys and compares them with what the watch saw.
func (a *audit) compareMembers(rev int64) {
	a.t.Helper()
	newest := map[string]string{}
	for at := int64(0); at <= rev; at++ {
		if w, known := a.seen[at]; known {
			newest[w.key] = w.value
		}
	}
	for _, n := range a.c.nodes {
		client := a.c.dial(n)
		poll(a.t, 30*time.Second, func() error {
			got, err := client.Get(short(a.t), "audit-", clientv3.WithPrefix(), clientv3.WithSerializable())
			if err != nil {
				return err
			}
			if got.Header.Revision < rev {
				return fmt.Errorf("%s is at revision %d of %d: %s", n.name, got.Header.Revision, rev, n.tail())
			}
			found := map[string]string{}
			for _, kv := range got.Kvs {
				found[string(kv.Key)] = string(kv.Value)
			}
			for key, value := range newest {
				if found[key] != value {
					return fatal{fmt.Errorf("%s has %s=%s, not %s", n.name, key, found[key], value)}
				}
			}
			return nil
		})
		client.Close()
	}
	a.c.sameHashes()
}

// sameHashes checks that all members that run hash the same at the newest revisions.
func (c *cluster) sameHashes() {
	c.t.Helper()
	want, at := map[int64]string{}, ""
	var newest int64
	for _, n := range c.nodes {
		if !n.runs() {
			continue
		}
		client := c.dial(n)
		if newest == 0 {
			got, err := client.Get(short(c.t), "any")
			if err != nil {
				c.t.Fatal(err)
			}
			newest, at = got.Header.Revision, n.name
		}
		for rev := max(newest-200, 1); rev <= newest; rev += 20 {
			var text string
			poll(c.t, 20*time.Second, func() error {
				hash, err := client.HashKV(short(c.t), n.client, rev)
				if err != nil {
					text = err.Error()
					if text == "etcdserver: mvcc: required revision is a future revision" {
						return err
					}
					return nil
				}
				text = fmt.Sprintf("%d compacted %d", hash.Hash, hash.CompactRevision)
				return nil
			})
			if other, known := want[rev]; known && other != text {
				c.t.Errorf("revision %d: %s says %s, %s says %s", rev, at, other, n.name, text)
			}
			want[rev] = text
		}
		client.Close()
	}
}
