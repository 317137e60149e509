package interop

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// singleLife is what a member alone goes through: writes until a snapshot is due, compaction,
// defragmentation, a snapshot for a client, no space, a restart.
func singleLife(t testing.TB, bin string) []saying {
	t.Helper()
	dir, p := t.TempDir()+"/m", freePorts(t)
	args := []string{"--snapshot-count=50", fmt.Sprintf("--quota-backend-bytes=%d", 2<<20)}
	s := start(t, bin, dir, p, args...)
	untilSaid(t, dir+".log", "updated storage version")
	puts(t, s.client, 60)
	_, err := s.client.Compact(ctx(t), 20, clientv3.WithCompactPhysical())
	must(t, err)
	_, err = s.client.Defragment(ctx(t), s.url)
	must(t, err)
	snapshotTo(t, s.client, io.Discard)
	lease, err := s.client.Grant(ctx(t), 60)
	must(t, err)
	_, err = s.client.Revoke(ctx(t), lease.ID)
	must(t, err)
	fill(t, s.client)
	_, err = s.client.AlarmDisarm(ctx(t), &clientv3.AlarmMember{})
	must(t, err)
	untilSaid(t, dir+".log", "saved snapshot to disk")
	s.stop()
	s = start(t, bin, dir, p, args...)
	untilSaid(t, dir+".log", "successfully notified init daemon")
	s.stop()
	return logLines(t, dir+".log")
}

// clusterLife is what three members go through: leaders change, members come and go, one lags until
// it is sent a database, versions are to go down and do not, all stop.
func clusterLife(t testing.TB, bin string) []saying {
	t.Helper()
	args := []string{"--snapshot-count=50", "--snapshot-catchup-entries=10"}
	c := newCluster(t, []string{bin, bin, bin}, args...).start()
	client := c.dial()
	first := c.leader()
	untilSaid(t, first.dir+".log", "updated storage version")
	next := c.nodes[0]
	if next == first {
		next = c.nodes[1]
	}
	c.lead(next)
	changeAndTakeBack(t, c, client)
	c.remove(c.add(bin, true))
	leader := c.leader()
	lagging := c.nodes[0]
	if lagging == leader {
		lagging = c.nodes[1]
	}
	lagging.kill()
	rest := c.dial(leader)
	puts(t, rest, 200)
	lagging.start()
	untilSaid(t, lagging.dir+".log", "applied snapshot")
	puts(t, rest, 60)
	poll(t, 20*time.Second, func() error {
		_, err := client.Downgrade(short(t), clientv3.DowngradeEnable, "3.6.0")
		return err
	})
	untilSaid(t, c.leader().dir+".log", "updated cluster version")
	_, err := client.Downgrade(ctx(t), clientv3.DowngradeCancel, "")
	must(t, err)
	c.leader().stop()
	var lines []saying
	for _, n := range c.nodes {
		if n.runs() {
			n.stop()
		}
		lines = append(lines, logLines(t, n.dir+".log")...)
	}
	return lines
}

// changeAndTakeBack gives a member a second URL for a while, and adds and removes one that never starts.
func changeAndTakeBack(t testing.TB, c *cluster, client *clientv3.Client) {
	t.Helper()
	id, own := c.id(c.nodes[2]), c.nodes[2].peer
	for _, urls := range [][]string{{own, "http://127.0.0.1:2"}, {own}} {
		poll(t, 20*time.Second, func() error {
			_, err := client.MemberUpdate(short(t), id, urls)
			return err
		})
	}
	var added *clientv3.MemberAddResponse
	var err error
	poll(t, 20*time.Second, func() error {
		added, err = client.MemberAddAsLearner(short(t), []string{"http://127.0.0.1:1"})
		return err
	})
	poll(t, 20*time.Second, func() error {
		_, err = client.MemberRemove(short(t), added.Member.ID)
		return err
	})
}

func puts(t testing.TB, client *clientv3.Client, count int) {
	t.Helper()
	for i := range count {
		_, err := client.Put(ctx(t), fmt.Sprintf("key-%d", i), "value")
		must(t, err)
	}
}

// fill writes until the member has no space left.
func fill(t testing.TB, client *clientv3.Client) {
	t.Helper()
	value := strings.Repeat("x", 900_000)
	poll(t, 30*time.Second, func() error {
		if _, err := client.Put(ctx(t), "large", value); err != nil {
			return nil
		}
		return fmt.Errorf("there is still space")
	})
	alarms, err := client.AlarmList(ctx(t))
	must(t, err)
	if len(alarms.Alarms) != 1 || alarms.Alarms[0].Alarm != etcdserverpb.AlarmType_NOSPACE {
		t.Fatalf("the alarms are %v", alarms.Alarms)
	}
}

func snapshotTo(t testing.TB, client *clientv3.Client, to io.Writer) {
	t.Helper()
	stream, err := client.Snapshot(ctx(t))
	must(t, err)
	defer stream.Close()
	_, err = io.Copy(to, stream)
	must(t, err)
}

// untilSaid waits until a log has a line with this message.
func untilSaid(t testing.TB, path, message string) {
	t.Helper()
	poll(t, 20*time.Second, func() error {
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), message) {
			err = fmt.Errorf("the log does not say %q", message)
		}
		return err
	})
}
