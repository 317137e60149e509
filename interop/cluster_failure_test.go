package interop

import (
	"math/rand"
	"strconv"
	"testing"
	"time"
)

// Members are killed, stopped and started again; what was acknowledged stays.
func TestMembersFail(t *testing.T) {
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
	for _, kinds := range []string{"ooo", "eoo", "eeo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newPartitionable(t, bins(t, kinds))
			a := newAudit(c, 4)
			a.progress(20)
			for _, n := range c.nodes {
				// A leader alone, then a follower alone.
				for _, leads := range []bool{true, false} {
					if leads {
						c.lead(n)
					} else {
						c.lead(c.nodes[(index(c.nodes, n)+1)%len(c.nodes)])
					}
					c.network.isolate(n, c.nodes)
					a.progress(20)
					c.network.heal()
					a.progress(20)
				}
			}
			leader := c.leader()
			for _, n := range c.nodes {
				if n != leader {
					// It hears the leader and is not heard.
					c.network.stop(n, leader)
					a.progress(20)
					c.network.heal()
					// It is heard and hears nothing.
					c.network.stop(leader, n)
					a.progress(20)
					c.network.heal()
					c.network.reset()
				}
			}
			c.network.slow(50 * time.Millisecond)
			a.progress(20)
			c.network.heal()
			a.progress(20)
			a.finish()
			c.sameState()
		})
	}
}

func newPartitionable(t testing.TB, programs []string) *cluster {
	c := newCluster(t, nil)
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

func index(all []*node, one *node) int {
	for i, n := range all {
		if n == one {
			return i
		}
	}
	return -1
}

func hexID(id uint64) string { return strconv.FormatUint(id, 16) }
