package interop

import (
	"math/rand"
	"path/filepath"
	"testing"
	"time"
)

// Members that lag behind get whole databases, from etcd and from ours, and use them.
func TestSnapshotsBetweenMembers(t *testing.T) {
	for _, kinds := range []string{"eeo", "ooe", "ooo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			programs := bins(t, kinds)
			c := newCluster(t, programs, "--snapshot-count=100", "--snapshot-catchup-entries=50").start()
			c.lead(c.nodes[0])
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
				last.launch()
				await(time.Duration(r.Intn(400)) * time.Millisecond)
			}
			last.kill()
			last.start()
			// A new one, empty.
			c.add(programs[2], true)
			a.progress(50)
			a.finish()
			c.sameState()
			for _, n := range c.nodes {
				n.stop()
				received, _ := filepath.Glob(n.dir + "/member/snap/*.snap.db")
				run(t, tool(t, "bbolt"), "check", n.dir+"/member/snap/db")
				t.Logf("%s has %d databases that it received", n.name, len(received))
			}
		})
	}
}

// await lets chance decide when something happens; nothing is asserted of the time.
func await(d time.Duration) { <-time.After(d) }
