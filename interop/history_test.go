package interop

import (
	"context"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// historyKeys are few, so that clients meet.
	historyKeys = 5
	// historyMax bounds what one history records.
	historyMax      = 60_000
	operationLimit  = time.Second
	operationPause  = 20 * time.Millisecond
	historyCheckMax = time.Minute
)

// history runs clients against a cluster and records what each asked and heard, and when. It must
// be the only one who writes: then its watches see one event for each revision.
type history struct {
	t     testing.TB
	c     *cluster
	first storeState
	begun time.Time
	// stopped ends the clients, ended the watches.
	running, watching context.Context
	stop, end         context.CancelFunc
	clients, watchers sync.WaitGroup

	mu         sync.Mutex
	operations []operation
	events     map[int64]event
	newest     int64
	observers  []*observer
	made       int
}

// observer is a watch, and the clients beside it. They speak to one member, or to all.
type observer struct {
	member *node
	client *clientv3.Client
	stop   context.CancelFunc
	// last is the newest revision that the watch gave.
	last int64
}

// operation is what a client asked, between which instants, and what it heard, if anything.
type operation struct {
	client       int
	member       *node
	call, finish time.Duration
	request      request
	answer       answer
	known        bool
}

// event is what a watch said of one revision, and when the first of them did.
type event struct {
	deleted bool
	key     int
	value   string
	at      time.Duration
}

// newHistory starts a watch and a client on every member alone, and a watch and two clients on all
// of them. Keys that are there before are left alone.
func newHistory(c *cluster) *history {
	c.t.Helper()
	h := &history{t: c.t, c: c, events: map[int64]event{}, begun: time.Now()}
	h.running, h.stop = context.WithCancel(context.Background())
	h.watching, h.end = context.WithCancel(context.Background())
	c.t.Cleanup(func() {
		h.stop()
		h.end()
		h.clients.Wait()
		h.watchers.Wait()
	})
	client := c.dial()
	defer client.Close()
	poll(c.t, 30*time.Second, func() error {
		got, err := client.Get(short(c.t), "any")
		if err == nil {
			h.first.revision = got.Header.Revision
		}
		return err
	})
	h.newest = h.first.revision
	h.follow(nil, 2)
	for _, n := range c.nodes {
		h.follow(n, 1)
	}
	return h
}

// follow adds a watch from the first revision on and clients, on a member alone or on all.
func (h *history) follow(member *node, clients int) {
	h.t.Helper()
	f := &observer{member: member, last: h.first.revision}
	if member == nil {
		f.client = h.c.dial()
	} else {
		f.client = h.c.dial(member)
	}
	var running, watching context.Context
	running, f.stop = context.WithCancel(h.running)
	watching, cancel := context.WithCancel(h.watching)
	context.AfterFunc(running, func() {
		// The watch goes on after the last write, unless its member is gone.
		if h.running.Err() == nil {
			cancel()
		}
	})
	h.t.Cleanup(cancel)
	h.mu.Lock()
	h.observers = append(h.observers, f)
	h.mu.Unlock()
	h.watchers.Add(1)
	go h.watch(watching, f)
	for range clients {
		h.clients.Add(1)
		h.made++
		go h.ask(running, f, h.made)
	}
}

// leave stops what speaks to this member alone.
func (h *history) leave(member *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var rest []*observer
	for _, f := range h.observers {
		if f.member == member {
			f.stop()
			continue
		}
		rest = append(rest, f)
	}
	h.observers = rest
}

// joined starts a watch and a client on a new member; those who speak to all learn the members.
func (h *history) joined(member *node) {
	h.t.Helper()
	h.observers[0].client.SetEndpoints(h.c.endpoints()...)
	h.follow(member, 1)
}

// watch checks that there is one event for each revision, in order, and the same at all members.
func (h *history) watch(whole context.Context, f *observer) {
	defer h.watchers.Done()
	where := "all"
	if f.member != nil {
		where = f.member.name
	}
	for resp := range f.client.Watch(whole, "", clientv3.WithPrefix(), clientv3.WithRev(h.first.revision+1)) {
		if err := resp.Err(); err != nil && whole.Err() == nil {
			h.t.Errorf("the watch of %s broke: %v", where, err)
		}
		h.mu.Lock()
		for _, ev := range resp.Events {
			if ev.Kv.ModRevision != f.last+1 {
				h.t.Errorf("after revision %d the watch of %s gave %d", f.last, where, ev.Kv.ModRevision)
			}
			f.last = ev.Kv.ModRevision
			h.note(where, ev)
		}
		h.mu.Unlock()
	}
	if whole.Err() == nil {
		h.t.Errorf("the watch of %s ended", where)
	}
}

func (h *history) note(where string, ev *clientv3.Event) {
	got := event{deleted: ev.Type == mvccpb.Event_DELETE, value: string(ev.Kv.Value), at: time.Since(h.begun)}
	if _, err := fmt.Sscanf(string(ev.Kv.Key), "history-%d", &got.key); err != nil {
		h.t.Errorf("the watch of %s gave %v of %s at revision %d", where, ev.Type, ev.Kv.Key, ev.Kv.ModRevision)
	}
	before, known := h.events[ev.Kv.ModRevision]
	if !known {
		h.events[ev.Kv.ModRevision] = got
		h.newest = max(h.newest, ev.Kv.ModRevision)
		return
	}
	if before.at = got.at; before != got {
		h.t.Errorf("at revision %d the watch of %s gave %v, another %v", ev.Kv.ModRevision, where, got, before)
	}
}

// ask sends one request after the other until it is stopped.
func (h *history) ask(running context.Context, f *observer, number int) {
	defer h.clients.Done()
	r := rand.New(rand.NewSource(time.Now().UnixNano() + int64(number)))
	for n := 0; running.Err() == nil; n++ {
		q := h.choose(r, fmt.Sprintf("%d-%d", number, n))
		op := operation{client: number, member: f.member, request: q, call: time.Since(h.begun)}
		limited, done := context.WithTimeout(context.Background(), operationLimit)
		a, err := q.send(limited, f.client)
		done()
		op.answer, op.known, op.finish = a, err == nil, time.Since(h.begun)
		h.mu.Lock()
		h.operations = append(h.operations, op)
		full := len(h.operations) >= historyMax
		h.mu.Unlock()
		if full {
			return
		}
		select {
		case <-running.Done():
		case <-time.After(operationPause):
		}
	}
}

// choose makes a request; swaps expect what was there a moment ago.
func (h *history) choose(r *rand.Rand, value string) request {
	q := request{key: r.Intn(historyKeys)}
	switch r.Intn(10) {
	case 0, 1, 2, 3:
		q.kind, q.value = put, value
	case 4, 5, 6:
		q.kind = get
	case 7, 8:
		q.kind, q.value, q.expected = swap, value, h.newestOf(q.key)
	default:
		q.kind = remove
	}
	return q
}

// newestOf is the revision at which a key was written, as far as is known; 0 if it is not there.
func (h *history) newestOf(key int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for rev := h.newest; rev > h.first.revision; rev-- {
		if ev := h.events[rev]; ev.key == key {
			if ev.deleted {
				return 0
			}
			return rev
		}
	}
	return 0
}

// send asks a cluster.
func (q request) send(limited context.Context, client *clientv3.Client) (answer, error) {
	key := fmt.Sprintf("history-%d", q.key)
	switch q.kind {
	case put:
		resp, err := client.Put(limited, key, q.value)
		if err != nil {
			return answer{}, err
		}
		return answer{revision: resp.Header.Revision, changed: true}, nil
	case get:
		resp, err := client.Get(limited, key)
		if err != nil {
			return answer{}, err
		}
		return answer{revision: resp.Header.Revision, found: versionOf(resp.Kvs)}, nil
	case swap:
		resp, err := client.Txn(limited).If(clientv3.Compare(clientv3.ModRevision(key), "=", q.expected)).
			Then(clientv3.OpPut(key, q.value)).Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return answer{}, err
		}
		a := answer{revision: resp.Header.Revision, changed: resp.Succeeded}
		if !resp.Succeeded {
			a.found = versionOf(resp.Responses[0].GetResponseRange().Kvs)
		}
		return a, nil
	default:
		resp, err := client.Delete(limited, key)
		if err != nil {
			return answer{}, err
		}
		return answer{revision: resp.Header.Revision, changed: resp.Deleted > 0}, nil
	}
}

func versionOf(kvs []*mvccpb.KeyValue) held {
	if len(kvs) == 0 {
		return held{}
	}
	return held{string(kvs[0].Value), kvs[0].ModRevision}
}

// answered gives the first answer to what was asked after an instant, by the clients of these
// members or by any: of a change, or of anything.
func (h *history) answered(since time.Time, changes bool, members ...*node) (operation, bool) {
	from := since.Sub(h.begun)
	h.mu.Lock()
	defer h.mu.Unlock()
	var first operation
	found := false
	for i := len(h.operations) - 1; i >= 0 && h.operations[i].finish >= from-operationLimit; i-- {
		op := h.operations[i]
		counts := op.known && op.call >= from && (op.answer.changed || !changes)
		if counts && op.isOf(members) && (!found || op.finish < first.finish) {
			first, found = op, true
		}
	}
	return first, found
}

func (op operation) isOf(members []*node) bool {
	for _, n := range members {
		if n == op.member {
			return true
		}
	}
	return len(members) == 0
}

// recovery waits for the first acknowledged change after an instant and gives the time between.
func (h *history) recovery(since time.Time, members ...*node) time.Duration {
	h.t.Helper()
	var took time.Duration
	poll(h.t, 40*time.Second, func() error {
		op, found := h.answered(since, true, members...)
		if !found {
			return fmt.Errorf("nothing is acknowledged")
		}
		took = op.finish - since.Sub(h.begun)
		return nil
	})
	return took
}

// pause is the longest time since an instant, until now, in which no change was acknowledged.
func (h *history) pause(since time.Time) (longest time.Duration) {
	from, until := since.Sub(h.begun), time.Since(h.begun)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.operations) - 1; i >= 0 && until > from; i-- {
		if op := h.operations[i]; op.answer.changed {
			longest = max(longest, until-max(op.finish, from))
			until = min(until, op.finish)
		}
	}
	return max(longest, until-from)
}

// watched waits until all watches have given what is there now.
func (h *history) watched(limit time.Duration) {
	h.t.Helper()
	h.mu.Lock()
	goal := h.newest
	h.mu.Unlock()
	lag := func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, f := range h.observers {
			if f.last < goal {
				where := "all"
				if f.member != nil {
					where = f.member.name
				}
				return fmt.Errorf("the watch of %s is at %d of %d", where, f.last, goal)
			}
		}
		return nil
	}
	for end := time.Now().Add(limit); lag() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.evidence()
			h.t.Fatalf("after %v %v", limit, lag())
		}
	}
}

// finish stops the clients; then every watch must have seen everything, every member must have it,
// and the history must be linearizable.
func (h *history) finish() {
	h.t.Helper()
	h.stop()
	h.clients.Wait()
	// What a client gave up may still be under way, and change what was compared.
	poll(h.t, 60*time.Second, func() error { return h.compareMembers(h.settle()) })
	h.end()
	h.watchers.Wait()
	if h.t.Failed() {
		return
	}
	h.c.sameHashes()
	h.check()
}

// settle waits until every watch has seen everything, and gives the last revision.
func (h *history) settle() (last int64) {
	h.t.Helper()
	client := h.c.dial()
	defer client.Close()
	poll(h.t, 30*time.Second, func() error {
		got, err := client.Get(short(h.t), "any")
		if err == nil {
			last = got.Header.Revision
		}
		return err
	})
	h.mu.Lock()
	h.newest = max(h.newest, last)
	h.mu.Unlock()
	h.watched(30 * time.Second)
	return last
}

// compareMembers reads every member's own keys and compares them with what the watches saw. It fails
// if a member has more than this revision.
func (h *history) compareMembers(last int64) error {
	h.t.Helper()
	want := h.first.keys
	h.mu.Lock()
	for rev := h.first.revision + 1; rev <= last; rev++ {
		ev := h.events[rev]
		want[ev.key] = held{ev.value, rev}
		if ev.deleted {
			want[ev.key] = held{}
		}
	}
	h.mu.Unlock()
	for _, n := range h.c.nodes {
		client := h.c.dial(n)
		revision := int64(0)
		poll(h.t, 30*time.Second, func() error {
			got, err := client.Get(short(h.t), "history-", clientv3.WithPrefix(), clientv3.WithSerializable())
			if err != nil {
				return err
			}
			revision = got.Header.Revision
			if revision < last {
				return fmt.Errorf("%s is at revision %d of %d: %s", n.name, revision, last, n.tail())
			}
			var have [historyKeys]held
			for _, kv := range got.Kvs {
				var key int
				_, _ = fmt.Sscanf(string(kv.Key), "history-%d", &key)
				have[key] = versionOf([]*mvccpb.KeyValue{kv})
			}
			if revision == last && have != want {
				return fatal{fmt.Errorf("%s has %v, not %v", n.name, have, want)}
			}
			return nil
		})
		client.Close()
		if revision > last {
			return fmt.Errorf("%s is at revision %d already, not %d", n.name, revision, last)
		}
	}
	return nil
}
