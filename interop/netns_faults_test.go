package interop

import (
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	electionTimeout = time.Second
	recoveryMax     = 5 * electionTimeout
	// faultTime is how long a fault lasts at least, rejoinMax how long a member that was cut off may
	// need before it serves again: its connections first have to find out.
	faultTime = 3 * time.Second
	rejoinMax = 15 * time.Second
	slowKbits = 400
)

// trial is a cluster whose members live in network namespaces, and the history of what its clients
// ask while it is troubled.
type trial struct {
	t      testing.TB
	c      *cluster
	netns  *netns
	h      *history
	leases *leases
	// recoveryMax is how long it may last until a change is acknowledged.
	recoveryMax time.Duration
}

// memberKinds are ours; with HOLDFAST_NETNS_MEMBERS=etcd the reference's, to judge the tests by.
func memberKinds(n int) string {
	if os.Getenv("HOLDFAST_NETNS_MEMBERS") == "etcd" {
		return strings.Repeat("e", n)
	}
	return strings.Repeat("o", n)
}

// newTrial starts a cluster and the load; leased, with short leases that are kept alive as long as
// the clients reach the members.
func newTrial(t testing.TB, members int, leased bool) *trial {
	t.Helper()
	return newTrialOn(t, newNetns(t), members, leased)
}

func newTrialOn(t testing.TB, netns *netns, members int, leased bool) *trial {
	t.Helper()
	c := newNetnsCluster(t, netns, memberKinds(members)).start()
	x := &trial{t: t, c: c, netns: netns, recoveryMax: recoveryMax}
	if leased {
		x.leases = newLeases(c)
	}
	x.h = newHistory(c)
	x.h.recovery(time.Now())
	return x
}

// newNetnsCluster describes a cluster whose members live in namespaces.
func newNetnsCluster(t testing.TB, netns *netns, kinds string) *cluster {
	t.Helper()
	c := newCluster(t, nil)
	c.netns = netns
	for _, bin := range bins(t, kinds) {
		c.nodes = append(c.nodes, c.newNode(bin))
	}
	for _, n := range c.nodes {
		n.initial, n.state = c.initial(), "new"
	}
	return c
}

// finish checks everything that must hold in the end.
func (x *trial) finish() {
	x.t.Helper()
	x.h.finish()
	if x.leases != nil {
		x.leases.finish()
	}
	x.c.sameState()
}

// sides gives the leader, and all others in no order.
func (x *trial) sides() (leader *node, others []*node) {
	x.t.Helper()
	leader = x.c.leader()
	for _, i := range rand.Perm(len(x.c.nodes)) {
		if n := x.c.nodes[i]; n != leader {
			others = append(others, n)
		}
	}
	return leader, others
}

func numbers(nodes ...*node) []int {
	var all []int
	for _, n := range nodes {
		all = append(all, n.number)
	}
	return all
}

// recovers waits until a change that was asked for since then is acknowledged, to these members'
// clients or to any.
func (x *trial) recovers(what string, since time.Time, members ...*node) {
	x.t.Helper()
	took := x.h.recovery(since, members...)
	x.t.Logf("%-75s %5d ms", what, took.Milliseconds())
	if took > x.recoveryMax {
		x.t.Errorf("%s: nothing was acknowledged for %v", what, took)
	}
}

// pauses gives the longest time since then in which nothing was acknowledged.
func (x *trial) pauses(what string, since time.Time) {
	x.t.Helper()
	took := x.h.pause(since)
	x.t.Logf("%-75s %5d ms", what+", longest pause", took.Milliseconds())
	if took > x.recoveryMax {
		x.t.Errorf("%s: nothing was acknowledged for %v", what, took)
	}
}

// lasts waits until a fault has lasted.
func lasts(since time.Time) { <-time.After(time.Until(since.Add(faultTime))) }

// silent checks that these members' clients have got no answer to what they asked since then.
func (x *trial) silent(what string, since time.Time, members ...*node) {
	x.t.Helper()
	if op, found := x.h.answered(since, false, members...); found {
		x.t.Errorf("%s: without a majority %v was answered with %v", what, op.request, op.answer)
	}
}

// heal ends all faults of the network. The first acknowledged change must come soon, then one to
// each member's client, and the watches must go on.
func (x *trial) heal(what string) {
	x.t.Helper()
	since := time.Now()
	x.netns.heal()
	x.recovers(what+", healed", since)
	x.rejoins(what, since, x.c.nodes...)
}

func (x *trial) rejoins(what string, since time.Time, members ...*node) {
	x.t.Helper()
	var slowest time.Duration
	for _, n := range members {
		slowest = max(slowest, x.h.recovery(since, n))
	}
	x.t.Logf("%-75s %5d ms", what+", every member serves", slowest.Milliseconds())
	if slowest > rejoinMax {
		x.t.Errorf("%s: a member did not serve for %v", what, slowest)
	}
	x.h.watched(rejoinMax)
}

// killed kills a member and starts it again.
func (x *trial) killed(what string, n *node, others []*node) {
	x.t.Helper()
	since := time.Now()
	n.kill()
	x.recovers(what, since, others...)
	since = time.Now()
	n.start()
	x.rejoins(what+", started again", since, x.c.nodes...)
}

func (x *trial) leaderKilled() {
	leader, others := x.sides()
	x.killed("leader killed", leader, others)
}

func (x *trial) followerKilled() {
	leader, others := x.sides()
	x.killed("follower killed", others[0], append(others[1:], leader))
}

// view is which members the clients reach.
type view int

const (
	viewAll view = iota
	viewMajority
	viewMinority
)

// parted cuts a minority off, with the leader in it or without.
func (x *trial) parted(what string, led bool, view view) {
	x.t.Helper()
	leader, others := x.sides()
	members := append(others, leader)
	if led {
		members = append([]*node{leader}, others...)
	}
	size := (len(members) - 1) / 2
	minority, majority := members[:size], members[size:]
	since := time.Now()
	x.netns.part(numbers(minority...), numbers(majority...))
	switch view {
	case viewMajority:
		x.netns.part([]int{clientNumber}, numbers(minority...))
	case viewMinority:
		x.netns.part([]int{clientNumber}, numbers(majority...))
	}
	complete := time.Now()
	if view != viewMinority {
		x.recovers(what, complete, majority...)
	}
	lasts(since)
	x.silent(what, complete, minority...)
	if view == viewMinority {
		x.silent(what, complete)
	}
	x.heal(what)
}

// scattered leaves every member alone.
func (x *trial) scattered() {
	all := numbers(x.c.nodes...)
	since := time.Now()
	x.netns.drop(all, all)
	complete := time.Now()
	lasts(since)
	x.silent("every member alone", complete)
	x.heal("every member alone")
}

// oneWay drops what goes from a member to the others, or what comes from them.
func (x *trial) oneWay(what string, n *node, heard bool, others []*node) {
	x.t.Helper()
	since := time.Now()
	if heard {
		x.netns.drop([]int{n.number}, numbers(others...))
	} else {
		x.netns.drop(numbers(others...), []int{n.number})
	}
	complete := time.Now()
	x.recovers(what, complete, others...)
	lasts(since)
	x.silent(what, complete, n)
	x.heal(what)
}

func (x *trial) oneWays() {
	leader, others := x.sides()
	x.oneWay("leader is not heard", leader, false, others)
	leader, others = x.sides()
	x.oneWay("leader hears nothing", leader, true, others)
	leader, others = x.sides()
	x.oneWay("follower is not heard", others[0], false, append(others[1:], leader))
	leader, others = x.sides()
	x.oneWay("follower hears nothing", others[0], true, append(others[1:], leader))
}

// slowLink gives a member a line of which the load needs nearly all.
func (x *trial) slowLink(what string, n *node) {
	x.t.Helper()
	since := time.Now()
	x.netns.slow(n.number, slowKbits)
	lasts(since)
	x.recovers(what+", first answer after a while", time.Now())
	x.pauses(what, since)
	x.heal(what)
}

// replaced kills a member for good; a learner takes its place and is promoted.
func (x *trial) replaced() {
	leader, others := x.sides()
	gone, rest := others[0], append(others[1:], leader)
	id := x.c.id(gone)
	since := time.Now()
	gone.kill()
	x.recovers("member killed for good", since, rest...)
	x.h.leave(gone)
	x.c.removeID(gone, id)
	since = time.Now()
	n := x.c.add(gone.bin, true)
	x.h.joined(n)
	x.rejoins("learner takes its place", since, n)
	x.pauses("member replaced by a learner", since)
}

// What a cluster owes while its members die and its network parts: no acknowledged write is lost,
// watches see everything once, the history is linearizable, and it serves again soon.
func TestNetnsFaults(t *testing.T) {
	t.Parallel()
	for _, members := range []int{3, 5} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			x := newTrial(t, members, false)
			x.leaderKilled()
			x.followerKilled()
			x.parted("minority without the leader cut off", false, viewAll)
			x.parted("minority with the leader cut off", true, viewAll)
			x.parted("minority with the leader cut off, clients with the majority", true, viewMajority)
			x.parted("majority with the leader cut off, clients with the minority", false, viewMinority)
			x.scattered()
			x.oneWays()
			x.replaced()
			x.finish()
		})
	}
}

// The same while a line or a disk is slow.
func TestNetnsSlow(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, members := range []int{3, 5} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			x := newTrial(t, members, true)
			leader, _ := x.sides()
			x.slowLink("slow link of the leader", leader)
			_, others := x.sides()
			x.slowLink("slow link of a follower", others[0])
			x.slowDisk("slow disk of the leader", true)
			x.slowDisk("slow disk of a follower", false)
			x.finish()
		})
	}
}

// Faults in any order, for as long as HOLDFAST_SOAK_TIME says, ten minutes otherwise.
func TestNetnsSoak(t *testing.T) {
	if os.Getenv("HOLDFAST_SOAK") == "" {
		t.Skip("skipped: HOLDFAST_SOAK is not set")
	}
	limit, err := time.ParseDuration(os.Getenv("HOLDFAST_SOAK_TIME"))
	if err != nil {
		limit = 10 * time.Minute
	}
	needStrace(t)
	for end := time.Now().Add(limit); time.Now().Before(end) && !t.Failed(); {
		t.Run("round", func(t *testing.T) {
			x := newTrial(t, 3+2*rand.Intn(2), rand.Intn(3) == 0)
			faults := []func(){
				func() { x.slowLink("slow link", x.c.nodes[rand.Intn(len(x.c.nodes))]) },
				func() { x.slowDisk("slow disk", rand.Intn(2) == 0) },
				func() { x.slowDisk("slow disk of the leader", true) },
			}
			if x.leases == nil {
				faults = append(faults, x.leaderKilled, x.followerKilled, x.scattered, x.oneWays, x.replaced,
					func() { x.parted("minority cut off", rand.Intn(2) == 0, viewAll) },
					func() { x.parted("minority cut off, seen", rand.Intn(2) == 0, viewMinority) },
					func() { x.parted("minority cut off, not seen", rand.Intn(2) == 0, viewMajority) })
			}
			for _, i := range rand.Perm(len(faults)) {
				faults[i]()
			}
			x.finish()
		})
	}
}
