package interop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// lines are those of the member's log that have this text.
func (n *node) lines(text string) int {
	log, _ := os.ReadFile(n.dir + ".log")
	return strings.Count(string(log), text)
}

// said waits until the member's log has these texts.
func (n *node) said(texts ...string) {
	n.t.Helper()
	poll(n.t, 20*time.Second, func() error {
		for _, text := range texts {
			if n.lines(text) == 0 {
				return fmt.Errorf("%s (%s) does not say %q: %s", n.name, n.bin, text, n.tail())
			}
		}
		return nil
	})
}

// Members of different clusters are told so, on both sides, in etcd's words; and not without end.
func TestAWrongTokenIsSaid(t *testing.T) {
	for _, kinds := range []string{"oo", "oe", "eo", "ee"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			programs := bins(t, kinds)
			c := newCluster(t, programs)
			for i, n := range c.nodes {
				n.args = append([]string{fmt.Sprintf("--initial-cluster-token=t%d", i)}, n.args...)
				n.launch()
			}
			begun := time.Now()
			for _, n := range c.nodes {
				n.said(
					`"request cluster ID mismatch"`,
					`"request sent was ignored by remote peer due to cluster ID mismatch"`,
					`"remote-peer-cluster-id"`, `"local-member-cluster-id"`,
				)
			}
			await(2 * time.Second)
			for _, n := range c.nodes {
				if n.bin == ours(t) {
					most := 2 + int(time.Since(begun)/(10*time.Second))
					if said := n.lines("request cluster ID mismatch"); said > most {
						t.Errorf("%s says it %d times in %v", n.name, said, time.Since(begun))
					}
				}
			}
		})
	}
}

// Who was removed is told so, and so are those it asks.
func TestARemovedMemberIsSaid(t *testing.T) {
	for _, kinds := range []string{"ooo", "eeo", "ooe"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, kinds)).start()
			gone := c.nodes[2]
			id := c.id(gone)
			client := c.dial(c.nodes[:2]...)
			gone.kill()
			poll(t, 30*time.Second, func() error {
				_, err := client.MemberRemove(short(t), id)
				if err == rpctypes.ErrMemberNotFound {
					return nil
				}
				return err
			})
			gone.launch()
			gone.ended(30 * time.Second)
			said := 0
			for _, n := range c.nodes[:2] {
				said += n.lines("rejected stream from remote peer because it was removed")
			}
			if said == 0 {
				t.Error("nobody says that a removed member asked", c.nodes[0].tail())
			}
		})
	}
}

// The quota of a member holds when it applies, whoever proposed.
func TestTheQuotaOfOneMemberRaisesTheAlarm(t *testing.T) {
	for _, kinds := range []string{"oo", "oe", "eo", "ee"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, kinds))
			a, b := c.nodes[0], c.nodes[1]
			a.args = append([]string{"--quota-backend-bytes=65536"}, a.args...)
			c.start()
			c.leader()
			client := c.dial(b)
			if _, err := client.Put(ctx(t), "k", strings.Repeat("x", 65536)); err != nil {
				t.Fatal(err)
			}
			want := &pb.AlarmMember{MemberID: c.id(a), Alarm: pb.AlarmType_NOSPACE}
			poll(t, 10*time.Second, func() error {
				alarms, err := client.AlarmList(short(t))
				if err == nil && len(alarms.Alarms) == 0 {
					err = fmt.Errorf("there is no alarm")
				}
				if err == nil && (len(alarms.Alarms) != 1 || alarms.Alarms[0].MemberID != want.MemberID) {
					err = fatal{fmt.Errorf("alarms are %v", alarms.Alarms)}
				}
				return err
			})
			a.said("message exceeded backend quota; raising alarm")
			if _, err := client.Put(ctx(t), "k", "x"); err != rpctypes.ErrNoSpace {
				t.Errorf("a put is answered with %v", err)
			}
		})
	}
}

// clusterVersion is what a member says on its peer port.
func clusterVersion(n *node) string {
	resp, err := http.Get(n.listenPeer + "/version")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// The version of a cluster is decided with the first entry that its leader commits, not at the next
// time that it is looked at.
func TestTheVersionIsDecidedAtOnce(t *testing.T) {
	for _, kinds := range []string{"o", "ooo"} {
		t.Run(kinds, func(t *testing.T) {
			for range 5 {
				c := newCluster(t, bins(t, kinds))
				for _, n := range c.nodes {
					n.launch()
				}
				elected := ""
				poll(t, 30*time.Second, func() error {
					for _, n := range c.nodes {
						if n.lines("elected leader") > 0 {
							elected = n.name
							return nil
						}
					}
					return fmt.Errorf("nobody leads")
				})
				begun := time.Now()
				poll(t, 10*time.Second, func() error {
					if text := clusterVersion(c.nodes[0]); !strings.Contains(text, `"etcdcluster":"3.`) ||
						strings.Contains(text, `"etcdcluster":"3.0`) {
						return fmt.Errorf("%s leads, %s", elected, text)
					}
					return nil
				})
				if took := time.Since(begun); took > 600*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				for _, n := range c.nodes {
					n.kill()
				}
			}
		})
	}
}

// A member that joins serves soon, also when a database brings it all that happened before: its own
// name, which it published meanwhile, among it.
func TestJoiningTakesNotLong(t *testing.T) {
	joins := 8
	if os.Getenv("HOLDFAST_JOINS") != "" {
		fmt.Sscan(os.Getenv("HOLDFAST_JOINS"), &joins)
	}
	for _, kinds := range []string{"oo", "eo", "oe", "ee"} {
		t.Run(kinds, func(t *testing.T) {
			programs := bins(t, kinds)
			c := newCluster(t, programs[:1], "--snapshot-count=100", "--snapshot-catchup-entries=5").start()
			putMany(t, c, 300)
			for range joins {
				begun := time.Now()
				n, id := joinOne(c, programs[1])
				took := time.Since(begun)
				t.Logf("serves after %v", took.Round(time.Millisecond))
				if n.bin == ours(t) && took > 5*time.Second {
					t.Errorf("it serves after %v: %s", took, n.tail())
				}
				leaveOne(c, n, id)
				putMany(t, c, 150)
			}
		})
	}
}

func putMany(t *testing.T, c *cluster, count int) {
	t.Helper()
	client := c.dial(c.nodes[0])
	defer client.Close()
	for i := range count {
		if _, err := client.Put(ctx(t), fmt.Sprintf("k%d", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
}

// joinOne adds a learner, which no quorum needs, and waits until it serves: answers a read of its own
// database.
func joinOne(c *cluster, bin string) (*node, uint64) {
	c.t.Helper()
	client := c.dial(c.nodes[0])
	defer client.Close()
	n := c.newNode(bin)
	added, err := client.MemberAddAsLearner(ctx(c.t), []string{n.peer})
	if err != nil {
		c.t.Fatal(err)
	}
	n.initial, n.state = c.initial()+","+n.name+"="+n.peer, "existing"
	n.launch()
	poll(c.t, 40*time.Second, func() error {
		if !n.runs() {
			return fatal{fmt.Errorf("it ended: %s", n.tail())}
		}
		resp, err := http.Get(n.client + "/version")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return n, added.Member.ID
}

func leaveOne(c *cluster, n *node, id uint64) {
	c.t.Helper()
	client := c.dial(c.nodes[0])
	defer client.Close()
	poll(c.t, 20*time.Second, func() error {
		_, err := client.MemberRemove(short(c.t), id)
		if err == rpctypes.ErrMemberNotFound {
			return nil
		}
		return err
	})
	n.kill()
}
