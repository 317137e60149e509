package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// promptly is a limit for what must not wait for others.
const promptly = time.Second

// Streams that wait for the cluster's consent hold up neither each other nor small reads, however many
// they are and whoever leads.
func TestStreamsThatAreConfirmedHoldUpNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, bins(t, "ooo")).start()
	leader := c.leader()
	client := c.dial(leader)
	for n := range 2000 {
		if _, err := client.Put(ctx(t), fmt.Sprintf("k%05d", n), "v"); err != nil {
			t.Fatal(err)
		}
	}
	follower := c.nodes[0]
	if follower == leader {
		follower = c.nodes[1]
	}
	for _, where := range []*node{leader, follower} {
		client := c.dial(where)
		stub := pb.NewKVClient(client.ActiveConnection())
		for _, streams := range []int{2, 8, 64} {
			limited, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			var all sync.WaitGroup
			for range streams {
				all.Go(func() {
					stream, err := stub.RangeStream(limited, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
					if err != nil {
						t.Error(err)
						return
					}
					keys := 0
					for {
						resp, err := stream.Recv()
						if err == io.EOF {
							break
						}
						if err != nil {
							t.Errorf("%d streams: %v", streams, err)
							return
						}
						keys += len(resp.RangeResponse.Kvs)
					}
					if keys != 2000 {
						t.Errorf("a stream has %d keys", keys)
					}
				})
			}
			for range 20 {
				begun := time.Now()
				if _, err := client.Get(limited, "k00001"); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > promptly {
					t.Errorf("beside %d streams a read took %v", streams, took)
				}
			}
			all.Wait()
			cancel()
		}
	}
}

// Pages that wait for a quorum hold up no others.
func TestPagesThatWaitHoldUpNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, bins(t, "ooo")).start()
	one := c.nodes[0]
	c.nodes[1].kill()
	c.nodes[2].kill()
	page := func(path string) (int, string, error) {
		resp, err := http.Get(one.client + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err
	}
	poll(t, 30*time.Second, func() error {
		_, text, err := page("/health")
		if err == nil && !strings.Contains(text, "RAFT NO LEADER") {
			err = fmt.Errorf("/health says %s", text)
		}
		return err
	})
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			status, text, err := page("/readyz")
			if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, "[-]linearizable_read failed") {
				t.Errorf("/readyz: %d %q %v", status, text, err)
			}
		})
		all.Go(func() {
			if status, _, err := page("/health"); err != nil || status != http.StatusServiceUnavailable {
				t.Errorf("/health: %d %v", status, err)
			}
		})
	}
	for range 10 {
		for path, want := range map[string]int{
			"/livez": 200, "/metrics": 200, "/version": 200, "/readyz/serializable_read": 200, "/debug/vars": 200,
			"/health": 503, "/health?serializable=true": 200,
		} {
			begun := time.Now()
			status, _, err := page(path)
			if took := time.Since(begun); err != nil || status != want || took > promptly {
				t.Errorf("%s: %d after %v: %v", path, status, took, err)
			}
		}
	}
	all.Wait()
}

// Hashes of a large database hold up small reads neither on a member alone nor in a cluster.
func TestHashesHoldUpNobody(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"o", "ooo"} {
		c := newCluster(t, bins(t, kinds)).start()
		one := c.nodes[0]
		client := c.dial(one)
		const keys, together = 60_000, 120
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for n := worker * together; n < keys; n += 8 * together {
					var ops []clientv3.Op
					for k := range together {
						ops = append(ops, clientv3.OpPut(fmt.Sprintf("k%07d", n+k), strings.Repeat("v", 200)))
					}
					if _, err := client.Txn(ctx(t)).Then(ops...).Commit(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		measure := func() (p50, p99 time.Duration) {
			var took []time.Duration
			for range 200 {
				begun := time.Now()
				if _, err := client.Get(ctx(t), "k0000001"); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			return took[len(took)/2], took[len(took)*99/100]
		}
		idle50, idle99 := measure()
		stop, done := context.WithCancel(context.Background())
		hashes := 0
		var mu sync.Mutex
		for range 8 {
			all.Go(func() {
				for stop.Err() == nil {
					if _, err := client.HashKV(context.Background(), one.client, 0); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					hashes++
					mu.Unlock()
				}
			})
		}
		busy50, busy99 := measure()
		done()
		all.Wait()
		t.Logf("%s: p50 %v, p99 %v; beside %d hashes %v, %v", kinds, idle50, idle99, hashes, busy50, busy99)
		if busy50 > 10*idle50+20*time.Millisecond || busy99 > 10*idle99+200*time.Millisecond {
			t.Errorf("%s: beside hashes a read takes %v (%v of a hundred), without %v (%v)", kinds, busy50, busy99, idle50, idle99)
		}
		for _, n := range c.nodes {
			n.kill()
		}
	}
}
