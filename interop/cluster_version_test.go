package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// A live cluster is told to go down a version; when it is there, each member is stopped and the
// version before starts on its directory. The same for etcd's members, for ours and for both.
func TestDowngradeInPlace(t *testing.T) {
	t.Parallel()
	// With few snapshots the whole log is read again when a member starts, with many hardly any.
	few, many := []string{"--snapshot-count=100000"}, []string{"--snapshot-count=200", "--snapshot-catchup-entries=100"}
	for kinds, args := range map[string][]string{"eee": many, "ooo": few, "eoo": many, "oee": few} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			old := bins(t, "6")[0]
			c := newCluster(t, bins(t, kinds), args...).start()
			c.lead(c.nodes[0])
			c.untilVersions("3.7.0")
			kept := newKept(c)
			a := newAudit(c, 4)
			a.progress(50)
			c.goDown("3.6")
			c.untilVersions("3.6.0")
			for _, n := range c.nodes {
				n.untilLogged("The server is ready to downgrade")
			}
			a.progress(50)
			for i, n := range c.nodes {
				n.stop()
				a.progress(20)
				n.bin = old
				n.start()
				a.progress(50)
				if i == 0 {
					c.lead(n)
					a.progress(50)
				}
			}
			c.untilDowngraded()
			c.untilVersions("3.6.0")
			a.finish()
			kept.check()
			c.sameState()
		})
	}
}

// A live cluster of the version before becomes ours, one member at a time on the same directories,
// whoever leads; it gets our version when all members have it.
func TestUpgradeInPlace(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"ooo", "eoo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, "666"), "--snapshot-count=200", "--snapshot-catchup-entries=100").start()
			c.untilVersions("3.6.0")
			kept := newKept(c)
			a := newAudit(c, 4)
			a.progress(50)
			for i, bin := range bins(t, kinds) {
				n := c.nodes[i]
				n.stop()
				a.progress(20)
				n.bin = bin
				n.start()
				a.progress(50)
				if i == 2 {
					break
				}
				for _, leader := range []*node{n, c.nodes[2]} {
					c.lead(leader)
					a.progress(100)
					c.untilVersions("3.6.0")
				}
			}
			c.untilVersions("3.7.0")
			a.finish()
			kept.check()
			c.sameState()
		})
	}
}

// Members of both versions: each leads in turn while requests of every kind go to all of them.
// Transactions that read an old or future revision are left out: etcd v3.6 checks that revision only
// on the member that answers, so its members refuse such a transaction there and apply it elsewhere.
func TestMixedWithTheVersionBefore(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"6oo", "66o"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bins(t, kinds)).start()
			load := newLoadOf(c, func(in proto.Message) bool {
				txn, is := in.(*pb.TxnRequest)
				return !is || !readsRevision(txn)
			})
			for _, n := range c.nodes {
				c.lead(n)
				load.progress(500)
				load.alarms(n)
				load.history(n)
				c.keepAliveEverywhere()
				c.untilVersions("3.6.0")
			}
			load.finish()
			c.sameState()
		})
	}
}

// keepAliveEverywhere renews a lease at every member, whoever leads.
func (c *cluster) keepAliveEverywhere() {
	c.t.Helper()
	for i, n := range c.nodes {
		client := c.dial(n)
		poll(c.t, 20*time.Second, func() error {
			lease, err := client.Grant(short(c.t), 3600)
			if err != nil {
				return err
			}
			for _, other := range []*node{n, c.nodes[(i+1)%len(c.nodes)]} {
				at := c.dial(other)
				kept, err := at.KeepAliveOnce(short(c.t), lease.ID)
				at.Close()
				if err != nil || kept.TTL != 3600 {
					return fmt.Errorf("%s renews as %v: %w", other.name, kept, err)
				}
			}
			_, err = client.Revoke(short(c.t), lease.ID)
			return err
		})
		client.Close()
	}
}

// readsRevision tells whether a transaction reads at a revision that it names.
func readsRevision(txn *pb.TxnRequest) bool {
	for _, op := range append(slices.Clone(txn.Success), txn.Failure...) {
		if op.GetRequestRange().GetRevision() != 0 || op.GetRequestTxn() != nil && readsRevision(op.GetRequestTxn()) {
			return true
		}
	}
	return false
}

// kept is what was there before members changed: keys, and a lease that holds some of them.
type kept struct {
	c     *cluster
	lease clientv3.LeaseID
	want  string
}

func newKept(c *cluster) *kept {
	c.t.Helper()
	client := c.dial()
	defer client.Close()
	lease, err := client.Grant(ctx(c.t), 3600)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range 20 {
		var options []clientv3.OpOption
		if i%2 == 0 {
			options = append(options, clientv3.WithLease(lease.ID))
		}
		if _, err := client.Put(ctx(c.t), fmt.Sprintf("kept-%02d", i), fmt.Sprint(i), options...); err != nil {
			c.t.Fatal(err)
		}
	}
	k := &kept{c: c, lease: lease.ID}
	k.want = k.text(c.nodes[0])
	return k
}

// text is what a member says about all of it.
func (k *kept) text(n *node) string {
	k.c.t.Helper()
	client := k.c.dial(n)
	defer client.Close()
	got, err := client.Get(ctx(k.c.t), "kept-", clientv3.WithPrefix())
	if err != nil {
		k.c.t.Fatal(err)
	}
	var out strings.Builder
	for _, kv := range got.Kvs {
		fmt.Fprintf(&out, "%s=%s %d %x\n", kv.Key, kv.Value, kv.ModRevision, kv.Lease)
	}
	ttl, err := client.TimeToLive(ctx(k.c.t), k.lease, clientv3.WithAttachedKeys())
	if err != nil {
		k.c.t.Fatal(err)
	}
	fmt.Fprintf(&out, "granted %d, %d keys\n", ttl.GrantedTTL, len(ttl.Keys))
	if ttl.TTL < 3000 {
		k.c.t.Errorf("the lease ends in %d s", ttl.TTL)
	}
	return out.String()
}

func (k *kept) check() {
	k.c.t.Helper()
	for _, n := range k.c.nodes {
		if got := k.text(n); got != k.want {
			k.c.t.Errorf("%s has\n%swant\n%s", n.name, got, k.want)
		}
	}
}

// goDown asks for a downgrade.
func (c *cluster) goDown(version string) {
	c.t.Helper()
	client := c.dial()
	defer client.Close()
	if _, err := client.Downgrade(ctx(c.t), clientv3.DowngradeEnable, version); err != nil {
		c.t.Fatal(err)
	}
}

// untilVersions waits until the cluster and the storage of each member have this version.
func (c *cluster) untilVersions(version string) {
	c.t.Helper()
	poll(c.t, 30*time.Second, func() error {
		for _, n := range c.nodes {
			client := c.dial(n)
			status, err := client.Status(short(c.t), n.client)
			client.Close()
			if err != nil {
				return err
			}
			said, err := n.says("/version")
			if err != nil {
				return err
			}
			if status.StorageVersion != version || !strings.Contains(said, fmt.Sprintf(`"etcdcluster":%q,"storage":%q`, version, version)) {
				return fmt.Errorf("%s (%s) has storage %s, and says %s", n.name, n.bin, status.StorageVersion, said)
			}
		}
		return nil
	})
}

// untilDowngraded waits until no member knows of a downgrade under way.
func (c *cluster) untilDowngraded() {
	c.t.Helper()
	poll(c.t, 30*time.Second, func() error {
		for _, n := range c.nodes {
			client := c.dial(n)
			status, err := client.Status(short(c.t), n.client)
			client.Close()
			if err != nil {
				return err
			}
			if status.DowngradeInfo.GetEnabled() {
				return fmt.Errorf("%s (%s) still goes down to %s", n.name, n.bin, status.DowngradeInfo.TargetVersion)
			}
		}
		return nil
	})
}

// says is a page that the member serves to others.
func (n *node) says(path string) (string, error) {
	resp, err := n.web().Get(n.listenPeer + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A single member: what etcd v3.6 stored is raised by ours, and refused by etcd v3.6 afterwards, with
// the words it has for what etcd v3.7 stored; after a downgrade it goes back.
func TestSingleMemberChangesItsVersion(t *testing.T) {
	t.Parallel()
	said := map[string][]string{}
	var mu sync.Mutex
	t.Run("both", func(t *testing.T) {
		for _, kind := range []string{"e", "o"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				refusal := changesItsVersion(t, kind)
				mu.Lock()
				defer mu.Unlock()
				said[kind] = refusal
			})
		}
	})
	if !t.Failed() && len(said["e"]) == 0 {
		t.Error("etcd v3.6 does not say why it refuses what etcd v3.7 stored")
	}
	differ(t, said["e"], said["o"])
}

// changesItsVersion gives what etcd v3.6 says about what this kind of member stored.
func changesItsVersion(t *testing.T, kind string) []string {
	c := newCluster(t, bins(t, "6")).start()
	n, old, own := c.nodes[0], bins(t, "6")[0], bins(t, kind)[0]
	c.untilVersions("3.6.0")
	kept := newKept(c)
	hash := c.hash(n)
	restart := func(end func(), bin, version string) {
		end()
		n.bin = bin
		n.start()
		c.untilVersions(version)
		kept.check()
	}
	restart(n.stop, own, "3.7.0")
	n.stop()
	n.bin = old
	refusal := n.refuses()
	restart(func() {}, own, "3.7.0")
	c.goDown("3.6")
	c.untilVersions("3.6.0")
	for _, end := range []func(){n.kill, n.stop} {
		restart(end, own, "3.6.0")
		if enabled, err := n.says("/downgrade/enabled"); err != nil || enabled != "true" {
			t.Errorf("%s: whether the downgrade is enabled after a restart: %s (%v)", kind, enabled, err)
		}
	}
	restart(n.stop, old, "3.6.0")
	c.untilDowngraded()
	restart(n.stop, own, "3.7.0")
	if now := c.hash(n); now != hash {
		t.Errorf("%s: the hash was %s and is %s", kind, hash, now)
	}
	return refusal
}

// Members of both versions join by the snapshots of leaders of both versions.
func TestMembersOfBothVersionsJoin(t *testing.T) {
	t.Parallel()
	c := newCluster(t, bins(t, "666"), "--snapshot-count=100", "--snapshot-catchup-entries=50").start()
	kept := newKept(c)
	a := newAudit(c, 4)
	a.progress(300)
	for i, kind := range []string{"o", "6", "o"} {
		c.remove(c.nodes[0])
		n := c.add(bins(t, kind)[0], i == 1)
		a.client.SetEndpoints(c.endpoints()...)
		a.progress(100)
		c.lead(n)
		a.progress(100)
		c.untilVersions("3.6.0")
	}
	a.finish()
	kept.check()
	c.sameState()
}

// A member of the higher version does not join a cluster that goes down, and one that is told so by
// etcd's members or by ours says the same.
func TestNobodyJoinsAboveADowngrade(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"eo", "oe"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			programs := bins(t, kinds)
			c := newCluster(t, programs[:1]).start()
			c.untilVersions("3.7.0")
			c.goDown("3.6")
			c.untilVersions("3.6.0")
			n := c.newNode(programs[1])
			client := c.dial()
			defer client.Close()
			if _, err := client.MemberAddAsLearner(ctx(t), []string{n.peer}); err != nil {
				t.Fatal(err)
			}
			n.initial, n.state = c.nodes[0].initial+","+n.name+"="+n.peer, "existing"
			n.launch()
			n.ended(20 * time.Second)
			if want := "incompatible with current running cluster"; !strings.Contains(n.tail(), want) {
				t.Errorf("%s says %s", n.bin, n.tail())
			}
		})
	}
}

// hash is that of all keys of a member with their history.
func (c *cluster) hash(n *node) string {
	c.t.Helper()
	client := c.dial(n)
	defer client.Close()
	hash, err := client.HashKV(ctx(c.t), n.client, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("%d at %d", hash.Hash, hash.HashRevision)
}

// refuses starts a member that cannot go on, and gives what its log says of it.
func (n *node) refuses() []string {
	n.t.Helper()
	before, err := os.ReadFile(n.dir + ".log")
	if err != nil {
		n.t.Fatal(err)
	}
	n.launch()
	n.ended(20 * time.Second)
	all, err := os.ReadFile(n.dir + ".log")
	if err != nil {
		n.t.Fatal(err)
	}
	var said []string
	for _, line := range strings.Split(string(all[len(before):]), "\n") {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		level := entry["level"]
		if level == "error" || level == "panic" || level == "fatal" {
			said = append(said, fmt.Sprintf("%v: %v: %v", level, entry["msg"], entry["error"]))
		}
	}
	return said
}

// untilLogged waits for a message in the member's log.
func (n *node) untilLogged(message string) {
	n.t.Helper()
	poll(n.t, 20*time.Second, func() error {
		if text, err := os.ReadFile(n.dir + ".log"); err != nil || !strings.Contains(string(text), message) {
			return fmt.Errorf("%s (%s) does not say %q: %v", n.name, n.bin, message, err)
		}
		return nil
	})
}
