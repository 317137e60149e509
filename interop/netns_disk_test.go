package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// syncStall is how long each sync of a slow disk takes, stallTime how long the disk is slow.
	syncStall = 4 * time.Second
	stallTime = 5 * time.Second

	leaseCount = 10
	leaseTTL   = 4
	leaseEvery = 500 * time.Millisecond
)

// needStrace skips the test where no process can be traced.
func needStrace(t testing.TB) {
	t.Helper()
	out, err := exec.Command("strace", "-qq", "-e", "trace=none", "-e", "inject=fsync:delay_enter=1", "true").CombinedOutput()
	if err != nil {
		lacks(t, fmt.Sprintf("slow disks need strace: %v %s", err, out))
	}
}

// stallSyncs makes a member wait so long in every sync of a file, until the result is called.
func (n *node) stallSyncs(each time.Duration) (end func()) {
	n.t.Helper()
	pid := n.cmd.Process.Pid
	tracer := exec.Command("strace", "-f", "-qq", "-o", n.dir+".strace", "-e", "trace=fsync,fdatasync",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", each.Microseconds()), "-p", strconv.Itoa(pid))
	said, err := os.Create(n.dir + ".strace.log")
	if err == nil {
		tracer.Stderr = said
		err = tracer.Start()
		said.Close()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = tracer.Process.Signal(syscall.SIGINT)
		_ = tracer.Wait()
	})
	n.t.Cleanup(end)
	poll(n.t, 10*time.Second, func() error {
		if text, _ := os.ReadFile(said.Name()); len(text) > 0 {
			return fatal{fmt.Errorf("strace: %s", text)}
		}
		return traced(pid)
	})
	return end
}

// traced tells whether all threads of a process are traced.
func traced(pid int) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		return fmt.Errorf("process %d has no threads: %v", pid, err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return fmt.Errorf("%s is not traced", path)
		}
	}
	return nil
}

// slowDisk stalls the syncs of the leader or of a follower. A leader must hand over, and when it
// wakes it must follow. No lease that is kept alive may be lost.
func (x *trial) slowDisk(what string, leads bool) {
	x.t.Helper()
	leader, others := x.sides()
	n, rest := leader, others
	if !leads {
		n, rest = others[0], append(others[1:], leader)
	}
	if x.leases != nil {
		x.leases.use(rest...)
		defer x.leases.use(x.c.nodes...)
	}
	id := x.ids()[n]
	since := time.Now()
	end := n.stallSyncs(syncStall)
	if leads {
		took := x.handsOver(id, rest, since)
		x.t.Logf("%-75s %5d ms", what+", another leads", took.Milliseconds())
		if took > recoveryMax {
			stalls, _ := os.ReadFile(n.dir + ".strace")
			x.t.Errorf("%s: it led for %v more, with these syncs:\n%s%s", what, took, stalls, n.tail())
		}
	}
	<-time.After(time.Until(since.Add(stallTime)))
	x.recovers(what+", first answer after a while", time.Now(), rest...)
	x.pauses(what, since)
	woke := time.Now()
	end()
	x.rejoins(what+", awake", woke, x.c.nodes...)
	if leads && x.c.leader() == n {
		x.t.Errorf("%s: it leads again", what)
	}
	if x.leases != nil {
		x.leases.alive()
	}
}

// handsOver waits until these members follow another leader, and gives the time.
func (x *trial) handsOver(leader uint64, others []*node, since time.Time) time.Duration {
	x.t.Helper()
	client := x.c.dial(others...)
	defer client.Close()
	poll(x.t, 40*time.Second, func() error {
		for _, n := range others {
			resp, err := client.Status(short(x.t), n.client)
			if err != nil {
				return err
			}
			if resp.Leader == 0 || resp.Leader == leader {
				return fmt.Errorf("%s follows %x", n.name, resp.Leader)
			}
		}
		return nil
	})
	return time.Since(since)
}

// ids are the members' ids, as the members that run tell.
func (x *trial) ids() map[*node]uint64 {
	x.t.Helper()
	ids := map[*node]uint64{}
	client := x.c.dial()
	defer client.Close()
	poll(x.t, 20*time.Second, func() error {
		list, err := client.MemberList(short(x.t))
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			for _, n := range x.c.nodes {
				if n.name == m.Name {
					ids[n] = m.ID
				}
			}
		}
		return nil
	})
	return ids
}

// leases are a few with short times to live, kept alive through members that may change.
type leases struct {
	t       testing.TB
	c       *cluster
	client  *clientv3.Client
	ids     []clientv3.LeaseID
	through atomic.Pointer[[]*clientv3.Client]
	stop    context.CancelFunc
	keepers sync.WaitGroup
}

func newLeases(c *cluster) *leases {
	c.t.Helper()
	l := &leases{t: c.t, c: c, client: c.dial()}
	l.use(c.nodes...)
	running, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	c.t.Cleanup(func() {
		cancel()
		l.keepers.Wait()
	})
	for i := range leaseCount {
		lease, err := l.client.Grant(ctx(c.t), leaseTTL)
		if err != nil {
			c.t.Fatal(err)
		}
		l.ids = append(l.ids, lease.ID)
		l.keepers.Add(1)
		go l.keep(running, i, lease.ID)
		if _, err := l.client.Put(ctx(c.t), fmt.Sprintf("leased-%d", i), "", clientv3.WithLease(lease.ID)); err != nil {
			c.t.Fatal(err)
		}
	}
	return l
}

// use keeps the leases alive through these members.
func (l *leases) use(nodes ...*node) {
	l.t.Helper()
	var clients []*clientv3.Client
	for _, n := range nodes {
		clients = append(clients, l.c.dial(n))
	}
	l.through.Store(&clients)
}

// keep asks one member after the other to keep a lease alive.
func (l *leases) keep(running context.Context, i int, id clientv3.LeaseID) {
	defer l.keepers.Done()
	renewed, failures := time.Now(), []string{}
	for at := i; running.Err() == nil; at++ {
		clients, asked := *l.through.Load(), time.Now()
		limited, done := context.WithTimeout(running, leaseEvery)
		_, err := clients[at%len(clients)].KeepAliveOnce(limited, id)
		done()
		switch err {
		case nil:
			renewed, failures = asked, nil
		case rpctypes.ErrLeaseNotFound:
			l.t.Errorf("lease %x is gone; it was renewed %v ago, then %q", id, time.Since(renewed), failures)
			return
		default:
			failures = append(failures, fmt.Sprintf("%v after %v", err, time.Since(renewed)))
		}
		select {
		case <-running.Done():
		case <-time.After(leaseEvery):
		}
	}
}

// alive checks that all leases and their keys are there.
func (l *leases) alive() {
	l.t.Helper()
	poll(l.t, 20*time.Second, func() error {
		got, err := l.client.Get(short(l.t), "leased-", clientv3.WithPrefix())
		if err == nil && len(got.Kvs) != leaseCount {
			return fatal{fmt.Errorf("%d keys of leases are left, not %d", len(got.Kvs), leaseCount)}
		}
		return err
	})
}

// finish revokes the leases.
func (l *leases) finish() {
	l.t.Helper()
	l.alive()
	l.stop()
	l.keepers.Wait()
	for _, id := range l.ids {
		poll(l.t, 20*time.Second, func() error {
			_, err := l.client.Revoke(short(l.t), id)
			if err == rpctypes.ErrLeaseNotFound {
				return nil
			}
			return err
		})
	}
}

// A lease that was granted is known to whoever is asked: the leader too, when its disk is slower than
// the others' and it has not applied yet what they answered.
func TestLeaseOfLeaderWithSlowDisk(t *testing.T) {
	t.Parallel()
	needStrace(t)
	c := newCluster(t, bins(t, memberKinds(3))).start()
	c.lead(c.nodes[0])
	one, two := c.dial(c.nodes[1]), c.dial(c.nodes[2])
	leader := c.dial(c.nodes[0])
	end := c.nodes[0].stallSyncs(300 * time.Millisecond)
	defer end()
	for range 5 {
		lease, err := one.Grant(ctx(t), 600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := two.KeepAliveOnce(ctx(t), lease.ID); err != nil {
			t.Errorf("renewed by another member: %v", err)
		}
		lease, err = one.Grant(ctx(t), 600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leader.KeepAliveOnce(ctx(t), lease.ID); err != nil {
			t.Errorf("renewed by the leader: %v", err)
		}
		lease, err = one.Grant(ctx(t), 600)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := two.TimeToLive(ctx(t), lease.ID); err != nil || found.TTL <= 0 {
			t.Errorf("looked for: %v, %v", found, err)
		}
	}
}
