package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A live cluster of etcd becomes ours and goes back, one member at a time, each on the directory
// that the other left: no acknowledged write is lost, and one watch lives through all of it.
func TestRollingReplacementInPlace(t *testing.T) {
	t.Parallel()
	programs := bins(t, "eo")
	c := newCluster(t, bins(t, "eee"), "--snapshot-count=200").start()
	a := newAudit(c, 4)
	a.progress(50)
	for _, bin := range []string{programs[1], programs[0]} {
		for _, n := range c.nodes {
			n.stop()
			a.progress(20)
			n.bin = bin
			n.start()
			a.progress(50)
		}
		leader := c.leader()
		for _, n := range c.nodes {
			if n != leader {
				c.lead(n)
				break
			}
		}
	}
	a.finish()
	c.sameState()
}

// The same by membership: each member is removed and a new one takes its place.
func TestRollingReplacementByMembership(t *testing.T) {
	t.Parallel()
	programs := bins(t, "eo")
	c := newCluster(t, bins(t, "eee"), "--snapshot-count=200", "--snapshot-catchup-entries=100").start()
	a := newAudit(c, 4)
	a.progress(50)
	for round, bin := range []string{programs[1], programs[0]} {
		for i := range 3 {
			c.remove(c.nodes[0])
			n := c.add(bin, (i+round)%2 == 0)
			a.client.SetEndpoints(c.endpoints()...)
			t.Logf("%s runs in place of one that went", n.name)
			a.progress(50)
		}
	}
	a.finish()
	c.sameState()
}

// remove takes a member out of the cluster; its process must end by itself.
func (c *cluster) remove(n *node) {
	c.t.Helper()
	c.removeID(n, c.id(n))
}

func (c *cluster) removeID(n *node, id uint64) {
	c.t.Helper()
	var rest []*node
	for _, other := range c.nodes {
		if other != n {
			rest = append(rest, other)
		}
	}
	client := c.dial(rest...)
	defer client.Close()
	poll(c.t, 40*time.Second, func() error {
		_, err := client.MemberRemove(short(c.t), id)
		if err == rpctypes.ErrMemberNotFound {
			return nil
		}
		return err
	})
	n.ended(20 * time.Second)
	c.nodes = rest
}

// add makes a new member, as a voter at once or as a learner first, and waits until it votes.
func (c *cluster) add(bin string, learner bool) *node {
	c.t.Helper()
	client := c.dial()
	defer client.Close()
	n := c.newNode(bin)
	var id uint64
	poll(c.t, 40*time.Second, func() error {
		add := client.MemberAdd
		if learner {
			add = client.MemberAddAsLearner
		}
		resp, err := add(short(c.t), []string{n.peer})
		if err == rpctypes.ErrPeerURLExist {
			return fatal{err}
		}
		if err == nil {
			id = resp.Member.ID
		}
		return err
	})
	list, err := client.MemberList(ctx(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	var initial []string
	for _, m := range list.Members {
		name := m.Name
		if m.ID == id {
			name = n.name
		}
		initial = append(initial, name+"="+strings.Join(m.PeerURLs, ","))
	}
	n.initial, n.state = strings.Join(initial, ","), "existing"
	c.nodes = append(c.nodes, n)
	n.launch()
	if learner {
		c.promote(client, n, id)
	}
	n.await()
	return n
}

func (c *cluster) promote(client *clientv3.Client, n *node, id uint64) {
	c.t.Helper()
	poll(c.t, 40*time.Second, func() error {
		if !n.runs() {
			return fatal{fmt.Errorf("%s ended: %s", n.name, n.tail())}
		}
		_, err := client.MemberPromote(short(c.t), id)
		if err == rpctypes.ErrMemberNotLearner {
			return nil
		}
		if err != nil {
			err = fmt.Errorf("cannot promote %s (%s): %w: %s", n.name, n.bin, err, n.tail())
		}
		return err
	})
}
