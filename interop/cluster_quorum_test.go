package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A member that has lost the majority serves what needs none and refuses the rest as etcd does,
// whether it led before or followed.
func TestWithoutQuorumAsEtcd(t *testing.T) {
	t.Parallel()
	for _, led := range []bool{true, false} {
		t.Run(fmt.Sprintf("led=%v", led), func(t *testing.T) {
			t.Parallel()
			said := map[string][]string{}
			var both sync.WaitGroup
			var mu sync.Mutex
			for _, kinds := range []string{"eee", "ooo"} {
				c := newCluster(t, bins(t, kinds)).start()
				if led {
					c.lead(c.nodes[0])
				} else {
					c.lead(c.nodes[1])
				}
				both.Add(1)
				go func() {
					defer both.Done()
					lines := withoutQuorum(c)
					mu.Lock()
					defer mu.Unlock()
					said[kinds] = lines
				}()
			}
			both.Wait()
			differ(t, said["eee"], said["ooo"])
		})
	}
}

func withoutQuorum(c *cluster) []string {
	one := c.nodes[0]
	client := c.dial(one)
	lease, err := client.Grant(ctx(c.t), 600)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	if _, err := client.Put(ctx(c.t), "k", "v", clientv3.WithLease(lease.ID)); err != nil {
		c.t.Error(err)
		return nil
	}
	q := &quorum{c: c, client: client, said: map[string]string{}, slow: map[string]bool{
		"downgrade": true, "members linearizable": true,
	}}
	long, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	broken := client.Watch(clientv3.WithRequireLeader(long), "w")
	lasting := client.Watch(long, "w")
	awaitCreated(client, long)
	c.nodes[1].kill()
	c.nodes[2].kill()
	for resp, err := client.Status(short(c.t), one.client); err != nil || resp.Leader != 0; resp, err = client.Status(short(c.t), one.client) {
		if long.Err() != nil {
			c.t.Error("the leader is not lost")
			return nil
		}
		await(20 * time.Millisecond)
	}
	q.all(int64(lease.ID))
	select {
	case end := <-broken:
		q.say("a watch that requires a leader", fmt.Sprint(end.Canceled, end.Err()))
	case <-time.After(20 * time.Second):
		q.say("a watch that requires a leader", "lasts")
	}
	select {
	case resp := <-lasting:
		q.say("a watch that does not", fmt.Sprint(resp.Canceled, resp.Err()))
	default:
		q.say("a watch that does not", "lasts")
	}
	return q.lines()
}

// awaitCreated returns when a watch was made after others: then they are made as well.
func awaitCreated(client *clientv3.Client, whole context.Context) {
	watched, cancel := context.WithCancel(clientv3.WithRequireLeader(whole))
	defer cancel()
	<-client.Watch(watched, "created", clientv3.WithCreatedNotify())
	plain, done := context.WithCancel(whole)
	defer done()
	<-client.Watch(plain, "created", clientv3.WithCreatedNotify())
}

// quorum asks a member that has none of everything at once, since much of it waits for its limit.
type quorum struct {
	c      *cluster
	client *clientv3.Client
	asked  sync.WaitGroup
	mu     sync.Mutex
	said   map[string]string
	// slow calls take etcd long to refuse.
	slow map[string]bool
}

func (q *quorum) say(what, text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.said[what] = strings.ReplaceAll(text, q.c.host, "HOST")
}

func (q *quorum) lines() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var lines []string
	for what, text := range q.said {
		lines = append(lines, what+": "+text)
	}
	sort.Strings(lines)
	return lines
}

func (q *quorum) call(what string, requires bool, method string, in, out proto.Message) {
	q.asked.Add(1)
	go func() {
		defer q.asked.Done()
		limit := 12 * time.Second
		if q.slow[what] {
			limit = 30 * time.Second
		}
		limited, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if requires {
			limited = clientv3.WithRequireLeader(limited)
		}
		err := q.client.ActiveConnection().Invoke(limited, "/etcdserverpb."+method, in, out)
		text := status.Convert(err).Message()
		if status.Code(err) == codes.DeadlineExceeded {
			// Who noticed it first decides the text.
			text = "too late"
		}
		q.say(what, fmt.Sprintf("%v: %s", status.Code(err), text))
	}()
}

func (q *quorum) page(path string) {
	q.asked.Add(1)
	go func() {
		defer q.asked.Done()
		resp, err := http.Get(q.c.nodes[0].client + path)
		if err != nil {
			q.say(path, err.Error())
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		// The checks come in no order.
		checks := strings.Split(string(body), "\n")
		sort.Strings(checks)
		q.say(path, fmt.Sprintf("%s %q", resp.Status, checks))
	}()
}

func (q *quorum) all(lease int64) {
	k := []byte("k")
	q.call("serializable range", false, "KV/Range", &pb.RangeRequest{Key: k, Serializable: true}, &pb.RangeResponse{})
	q.call("range", false, "KV/Range", &pb.RangeRequest{Key: k}, &pb.RangeResponse{})
	q.call("range with leader", true, "KV/Range", &pb.RangeRequest{Key: k}, &pb.RangeResponse{})
	q.call("serializable range with leader", true, "KV/Range", &pb.RangeRequest{Key: k, Serializable: true}, &pb.RangeResponse{})
	q.call("put", false, "KV/Put", &pb.PutRequest{Key: k}, &pb.PutResponse{})
	q.call("put with leader", true, "KV/Put", &pb.PutRequest{Key: k}, &pb.PutResponse{})
	q.call("delete", false, "KV/DeleteRange", &pb.DeleteRangeRequest{Key: k}, &pb.DeleteRangeResponse{})
	q.call("txn", false, "KV/Txn", &pb.TxnRequest{}, &pb.TxnResponse{})
	q.call("compact", false, "KV/Compact", &pb.CompactionRequest{Revision: 1}, &pb.CompactionResponse{})
	q.call("grant", false, "Lease/LeaseGrant", &pb.LeaseGrantRequest{TTL: 9}, &pb.LeaseGrantResponse{})
	q.call("revoke", false, "Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: lease}, &pb.LeaseRevokeResponse{})
	q.call("time to live", false, "Lease/LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: lease}, &pb.LeaseTimeToLiveResponse{})
	q.call("leases", false, "Lease/LeaseLeases", &pb.LeaseLeasesRequest{}, &pb.LeaseLeasesResponse{})
	q.call("members", false, "Cluster/MemberList", &pb.MemberListRequest{}, &pb.MemberListResponse{})
	q.call("members linearizable", false, "Cluster/MemberList", &pb.MemberListRequest{Linearizable: true}, &pb.MemberListResponse{})
	q.call("member add", false, "Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://x:1"}}, &pb.MemberAddResponse{})
	q.call("learner add", false, "Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://x:1"}, IsLearner: true}, &pb.MemberAddResponse{})
	q.call("member remove", false, "Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: q.c.idOf(0)}, &pb.MemberRemoveResponse{})
	q.call("member promote", false, "Cluster/MemberPromote", &pb.MemberPromoteRequest{ID: q.c.idOf(0)}, &pb.MemberPromoteResponse{})
	q.call("member update", false, "Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: q.c.idOf(0), PeerURLs: []string{"http://x:1"}}, &pb.MemberUpdateResponse{})
	q.call("move leader", false, "Maintenance/MoveLeader", &pb.MoveLeaderRequest{TargetID: 1}, &pb.MoveLeaderResponse{})
	q.call("alarms", false, "Maintenance/Alarm", &pb.AlarmRequest{}, &pb.AlarmResponse{})
	q.call("alarm", false, "Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}, &pb.AlarmResponse{})
	q.call("hash", false, "Maintenance/HashKV", &pb.HashKVRequest{}, &pb.HashKVResponse{})
	q.call("defragment", false, "Maintenance/Defragment", &pb.DefragmentRequest{}, &pb.DefragmentResponse{})
	q.call("downgrade", false, "Maintenance/Downgrade", &pb.DowngradeRequest{Version: "3.6.0"}, &pb.DowngradeResponse{})
	for _, path := range []string{"/health", "/health?serializable=true", "/livez", "/readyz", "/readyz?verbose", "/livez?verbose"} {
		q.page(path)
	}
	out := &pb.StatusResponse{}
	err := q.client.ActiveConnection().Invoke(short(q.c.t), "/etcdserverpb.Maintenance/Status", &pb.StatusRequest{}, out)
	q.say("status", fmt.Sprint(err, out.GetErrors(), out.GetLeader()))
	q.keepAlive(lease)
	q.asked.Wait()
}

// keepAlive sends one request for a lease, and notes how the stream ends.
func (q *quorum) keepAlive(lease int64) {
	for _, requires := range []bool{false, true} {
		q.asked.Add(1)
		go func() {
			defer q.asked.Done()
			limited, cancel := context.WithTimeout(context.Background(), 12*time.Second)
			defer cancel()
			if requires {
				limited = clientv3.WithRequireLeader(limited)
			}
			stream, err := pb.NewLeaseClient(q.client.ActiveConnection()).LeaseKeepAlive(limited)
			if err == nil {
				_ = stream.Send(&pb.LeaseKeepAliveRequest{ID: lease})
				_, err = stream.Recv()
			}
			q.say(fmt.Sprintf("keep alive, requires a leader %v", requires), fmt.Sprint(err))
		}()
	}
}

func (c *cluster) idOf(i int) uint64 {
	client := c.dial(c.nodes[i])
	defer client.Close()
	out := &pb.StatusResponse{}
	_ = client.ActiveConnection().Invoke(short(c.t), "/etcdserverpb.Maintenance/Status", &pb.StatusRequest{}, out)
	return out.GetHeader().GetMemberId()
}
