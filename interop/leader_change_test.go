package interop

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// others are the members beside one.
func (c *cluster) others(one *node) []*node {
	var others []*node
	for _, n := range c.nodes {
		if n != one {
			others = append(others, n)
		}
	}
	return others
}

// Reads that wait while the leadership passes are told so, in etcd's words, whether they were asked
// while there was a leader or not.
func TestReadsOverAChangeOfTheLeaderAsEtcd(t *testing.T) {
	t.Parallel()
	var said [2][]string
	for i, kinds := range []string{"eee", "ooo"} {
		c := newCluster(t, bins(t, kinds)).start()
		for _, leaderless := range []bool{false, true} {
			leader := c.leader()
			conn := c.dial(leader).ActiveConnection()
			followers := c.others(leader)
			signal := func(sig syscall.Signal) {
				for _, n := range followers {
					if err := n.cmd.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			answers := make(chan error, 1)
			ask := func() {
				answers <- conn.Invoke(ctx(t), kvService+"Range", &pb.RangeRequest{Key: []byte("k")}, &pb.RangeResponse{})
			}
			begun := time.Now()
			signal(syscall.SIGSTOP)
			if !leaderless {
				go ask()
			}
			poll(t, 20*time.Second, func() error {
				out := &pb.StatusResponse{}
				if err := conn.Invoke(short(t), maintenance+"Status", &pb.StatusRequest{}, out); err != nil {
					return err
				}
				if out.Leader != 0 {
					return fmt.Errorf("%x leads", out.Leader)
				}
				return nil
			})
			if leaderless {
				go ask()
				select {
				case err := <-answers:
					t.Fatalf("%s: a read without a leader is answered: %v", kinds, err)
				case <-time.After(200 * time.Millisecond):
				}
			}
			signal(syscall.SIGCONT)
			err := <-answers
			t.Logf("%s: answered after %v", kinds, time.Since(begun))
			said[i] = append(said[i], fmt.Sprintf("leaderless %v: %v: %s", leaderless, status.Code(err), status.Convert(err).Message()))
			// The next one is served.
			poll(t, 20*time.Second, func() error {
				return conn.Invoke(ctx(t), kvService+"Range", &pb.RangeRequest{Key: []byte("k")}, &pb.RangeResponse{})
			})
		}
	}
	differ(t, said[0], said[1])
}

// What members that do not lead say of leases: they ask the leader, also one that is elected meanwhile, and do
// not answer for it.
func TestLeasesOfFollowersAsEtcd(t *testing.T) {
	t.Parallel()
	var said [2][]string
	for i, kinds := range []string{"eee", "ooo"} {
		c := newCluster(t, bins(t, kinds)).start()
		leader := c.leader()
		follower := c.others(leader)[0]
		conn := c.dial(follower).ActiveConnection()
		line := func(what string, in, out proto.Message) {
			err := conn.Invoke(ctx(t), leaseService+what, in, out)
			text := status.Convert(err).Message()
			switch out := out.(type) {
			case *pb.LeaseTimeToLiveResponse:
				text += fmt.Sprintf(" %d of %d, header %v %v %v", out.TTL, out.GrantedTTL,
					out.Header.GetMemberId() != 0, out.Header.GetRevision(), out.Header.GetRaftTerm() != 0)
			case *pb.LeaseLeasesResponse:
				text += fmt.Sprint(" ", len(out.Leases))
			}
			said[i] = append(said[i], what+text)
		}
		line("LeaseGrant", &pb.LeaseGrantRequest{ID: 7, TTL: 90}, &pb.LeaseGrantResponse{})
		line("LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true}, &pb.LeaseTimeToLiveResponse{})
		line("LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 8}, &pb.LeaseTimeToLiveResponse{})
		line("LeaseLeases", &pb.LeaseLeasesRequest{}, &pb.LeaseLeasesResponse{})
		for _, id := range []int64{7} {
			ask := &leasepb.LeaseInternalRequest{LeaseTimeToLiveRequest: &pb.LeaseTimeToLiveRequest{ID: id}}
			body, _ := proto.Marshal(ask)
			resp, err := http.Post(follower.peer+"/leases/internal", "application/protobuf", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			said[i] = append(said[i], resp.Status+" "+string(text))
			renewal, _ := proto.Marshal(&pb.LeaseKeepAliveRequest{ID: id})
			resp, err = http.Post(follower.peer+"/leases", "application/protobuf", bytes.NewReader(renewal))
			if err != nil {
				t.Fatal(err)
			}
			text, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			said[i] = append(said[i], resp.Status+" "+string(text))
		}
		leader.kill()
		out := &pb.LeaseTimeToLiveResponse{}
		err := conn.Invoke(ctx(t), leaseService+"LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 7}, out)
		said[i] = append(said[i], fmt.Sprintf("without the leader: %v %v", err, out.TTL > 80 && out.TTL <= 91))
	}
	differ(t, said[0], said[1])
}
