package interop

import (
	"math/rand"
	"strconv"
	"testing"
	"time"
)

// Members are killed, stopped and started again; what was acknowledged stays.
func TestMembersFail(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"ooo", "eoo", "ooooo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, kinds), "--snapshot-count=100", "--snapshot-catchup-entries=50").start()
			a := newAudit(c, 4)
			a.progress(20)
			leader := c.leader()
			leader.kill()
			a.progress(20)
			leader.start()
			for _, n := range c.nodes {
				if n != c.leader() {
					n.kill()
					a.progress(20)
					n.start()
					break
				}
			}
			for _, n := range c.nodes {
				n.kill()
			}
			c.start()
			a.progress(20)
			for _, n := range c.nodes {
				n.stop()
			}
			c.start()
			a.progress(20)
			killRandomly(c, a, 10*time.Second)
			a.finish()
			c.sameState()
		})
	}
}

// killRandomly kills members at random instants, at times more than may fail at once.
func killRandomly(c *cluster, a *audit, limit time.Duration) {
	r := rand.New(rand.NewSource(time.Now().UnixNano()))
	for end := time.Now().Add(limit); time.Now().Before(end); {
		n := c.nodes[r.Intn(len(c.nodes))]
		if n.runs() {
			n.kill()
		} else {
			n.launch()
		}
		await(time.Duration(r.Intn(700)) * time.Millisecond)
	}
	c.start()
	a.progress(20)
}

// The way between members is cut, on both sides or on one, and slow.
func TestPartitions(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"ooo", "eeo", "ooe"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newPartitionable(t, bins(t, kinds))
			a := newAudit(c, 8)
			a.progress(20)
			// Alone with the others' leader beyond reach, then as a leader without followers.
			odd := c.nodes[len(c.nodes)-1]
			for _, leader := range []*node{c.nodes[0], odd} {
				c.lead(leader)
				c.network.isolate(odd, c.nodes)
				a.progress(20)
				c.network.heal()
				a.progress(20)
			}
			c.lead(c.nodes[0])
			// It hears the leader and is not heard; then it is heard and hears nothing.
			for _, way := range [][2]*node{{odd, c.nodes[0]}, {c.nodes[0], odd}} {
				c.network.stop(way[0], way[1])
				a.progress(20)
				c.network.heal()
			}
			c.network.reset()
			a.progress(20)
			c.network.slow(50 * time.Millisecond)
			a.progress(20)
			c.network.heal()
			a.progress(20)
			a.finish()
			c.sameState()
		})
	}
}

// newPartitionable starts a cluster whose members reach each other through proxies.
func newPartitionable(t testing.TB, programs []string, args ...string) *cluster {
	c := newCluster(t, nil, args...)
	c.network = newNetwork(t)
	for _, bin := range programs {
		c.nodes = append(c.nodes, c.newNode(bin))
	}
	for _, n := range c.nodes {
		n.initial, n.state = c.initial(), "new"
	}
	c.start()
	for _, n := range c.nodes {
		c.network.know(n.name, hexID(c.id(n)), n.peer)
	}
	return c
}

func hexID(id uint64) string { return strconv.FormatUint(id, 16) }
