package interop

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// Members that lag behind get whole databases, from etcd and from ours, and use them.
func TestSnapshotsBetweenMembers(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"eeo", "ooe", "ooo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			programs := bins(t, kinds)
			c := newPartitionable(t, programs, "--snapshot-count=100", "--snapshot-catchup-entries=50")
			c.lead(c.nodes[0])
			c.preload(200, 50_000)
			a := newAudit(c, 4)
			last := c.nodes[2]
			// One that was away, and is stopped again right after.
			last.stop()
			a.progress(400)
			last.start()
			last.stop()
			last.start()
			a.progress(50)
			// One that is killed while the database comes.
			r := rand.New(rand.NewSource(time.Now().UnixNano()))
			for range 3 {
				last.kill()
				a.progress(300)
				c.network.slow(time.Millisecond)
				last.launch()
				await(time.Duration(r.Intn(800)) * time.Millisecond)
			}
			last.kill()
			c.network.heal()
			last.start()
			// A new one, empty.
			c.add(programs[2], true)
			a.progress(50)
			a.finish()
			c.sameState()
			for _, n := range c.nodes {
				n.stop()
				run(t, tool(t, "bbolt"), "check", n.dir+"/member/snap/db")
			}
			c.network.mu.Lock()
			defer c.network.mu.Unlock()
			if c.network.databases == 0 {
				t.Errorf("%d databases were sent between members", c.network.databases)
			}
			t.Logf("%d databases were sent", c.network.databases)
		})
	}
}

// preload makes the database so large that it takes a while to send.
func (c *cluster) preload(keys, bytes int) {
	c.t.Helper()
	client, value := c.dial(), strings.Repeat("x", bytes)
	defer client.Close()
	for i := range keys {
		poll(c.t, 20*time.Second, func() error {
			_, err := client.Put(short(c.t), fmt.Sprintf("large-%d", i), value)
			return err
		})
	}
}

// await lets chance decide when something happens; nothing is asserted of the time.
func await(d time.Duration) { <-time.After(d) }
