package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// headers tells of every answer which fields its header has.
type headers struct {
	t               *testing.T
	conn            *grpc.ClientConn
	cluster, member uint64
	lines           []string
}

func (h *headers) line(what string, header *pb.ResponseHeader, err error) {
	text := "none"
	if header != nil {
		own := func(field, id uint64) string {
			if field == id {
				return "own"
			}
			return fmt.Sprint(field)
		}
		text = fmt.Sprintf("cluster %s, member %s, revision %d, term %d", own(header.ClusterId, h.cluster),
			own(header.MemberId, h.member), header.Revision, header.RaftTerm)
	}
	if err != nil {
		text = status.Convert(err).Message()
	}
	h.lines = append(h.lines, what+": "+text)
}

func (h *headers) call(method string, in, out proto.Message) {
	err := h.conn.Invoke(ctx(h.t), method, in, out)
	header, _ := out.(interface{ GetHeader() *pb.ResponseHeader })
	if header == nil {
		h.line(method, nil, err)
		return
	}
	h.line(method, header.GetHeader(), err)
}

func (h *headers) streams() {
	limited := ctx(h.t)
	ranged, err := pb.NewKVClient(h.conn).RangeStream(limited, &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil {
		h.t.Fatal(err)
	}
	for n := 0; ; n++ {
		resp, err := ranged.Recv()
		if err == io.EOF {
			break
		}
		h.line(fmt.Sprintf("RangeStream %d", n), resp.GetRangeResponse().GetHeader(), err)
	}
	alive, err := pb.NewLeaseClient(h.conn).LeaseKeepAlive(limited)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, id := range []int64{7, 8} {
		if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			h.t.Fatal(err)
		}
		resp, err := alive.Recv()
		h.line(fmt.Sprintf("LeaseKeepAlive %d (%d s)", id, resp.GetTTL()), resp.GetHeader(), err)
	}
	snapshot, err := pb.NewMaintenanceClient(h.conn).Snapshot(limited, &pb.SnapshotRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	piece, err := snapshot.Recv()
	h.line("Snapshot", piece.GetHeader(), err)
	watch, err := pb.NewWatchClient(h.conn).Watch(limited)
	if err != nil {
		h.t.Fatal(err)
	}
	create := func(key string, from int64) *pb.WatchRequest {
		return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte(key), StartRevision: from}}}
	}
	for _, step := range []struct {
		ask     *pb.WatchRequest
		answers int
	}{
		{create("k", 0), 1},
		{&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}, 1},
		{create("k00", 2), 2},
		{create("k", 1), 2},
		{create("k", -1), 1},
		{&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: 0}}}, 1},
	} {
		if err := watch.Send(step.ask); err != nil {
			h.t.Fatal(err)
		}
		for range step.answers {
			resp, err := watch.Recv()
			if err != nil {
				h.t.Errorf("%v: %v; so far %s", step.ask, err, strings.Join(h.lines[len(h.lines)-6:], "\n"))
			}
			h.line(fmt.Sprintf("Watch %T (%d events)", step.ask.RequestUnion, len(resp.GetEvents())), resp.GetHeader(), err)
		}
	}
}

// Which answers have a header, and what is in it.
func TestHeadersAsEtcd(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var said [2][]string
	for i, s := range p.both {
		st, err := s.client.Status(ctx(t), s.url)
		if err != nil {
			t.Fatal(err)
		}
		h := &headers{t: t, conn: s.client.ActiveConnection(), cluster: st.Header.ClusterId, member: st.Header.MemberId}
		for n := range 40 {
			h.call(kvService+"Put", &pb.PutRequest{Key: fmt.Appendf(nil, "k%02d", n), Value: []byte("v")}, &pb.PutResponse{})
		}
		const cluster = "/etcdserverpb.Cluster/"
		member := st.Header.MemberId
		read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}}
		write := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k")}}}
		h.call(kvService+"Range", &pb.RangeRequest{Key: []byte("k00")}, &pb.RangeResponse{})
		h.call(kvService+"Range", &pb.RangeRequest{Key: []byte("k00"), Revision: 2, Serializable: true}, &pb.RangeResponse{})
		h.call(kvService+"Txn", &pb.TxnRequest{Success: []*pb.RequestOp{read}}, &pb.TxnResponse{})
		h.call(kvService+"Txn", &pb.TxnRequest{Success: []*pb.RequestOp{write, read}}, &pb.TxnResponse{})
		h.call(kvService+"DeleteRange", &pb.DeleteRangeRequest{Key: []byte("k39")}, &pb.DeleteRangeResponse{})
		h.call(kvService+"DeleteRange", &pb.DeleteRangeRequest{Key: []byte("none")}, &pb.DeleteRangeResponse{})
		h.call(leaseService+"LeaseGrant", &pb.LeaseGrantRequest{ID: 7, TTL: 90}, &pb.LeaseGrantResponse{})
		left := &pb.LeaseTimeToLiveResponse{}
		h.call(leaseService+"LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 7, Keys: true}, left)
		h.lines = append(h.lines, fmt.Sprintf("left %d of %d", left.TTL, left.GrantedTTL))
		h.call(leaseService+"LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 8}, left)
		h.lines = append(h.lines, fmt.Sprintf("left %d of %d", left.TTL, left.GrantedTTL))
		h.call(leaseService+"LeaseLeases", &pb.LeaseLeasesRequest{}, &pb.LeaseLeasesResponse{})
		h.call(kvService+"Compact", &pb.CompactionRequest{Revision: 2}, &pb.CompactionResponse{})
		h.streams()
		h.call(leaseService+"LeaseRevoke", &pb.LeaseRevokeRequest{ID: 7}, &pb.LeaseRevokeResponse{})
		h.call(cluster+"MemberList", &pb.MemberListRequest{}, &pb.MemberListResponse{})
		h.call(cluster+"MemberList", &pb.MemberListRequest{Linearizable: true}, &pb.MemberListResponse{})
		added := &pb.MemberAddResponse{}
		h.call(cluster+"MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://127.0.0.1:9"}, IsLearner: true}, added)
		h.call(cluster+"MemberUpdate", &pb.MemberUpdateRequest{ID: added.Member.ID, PeerURLs: []string{"http://127.0.0.1:8"}}, &pb.MemberUpdateResponse{})
		h.call(cluster+"MemberRemove", &pb.MemberRemoveRequest{ID: added.Member.ID}, &pb.MemberRemoveResponse{})
		h.call(maintenance+"MoveLeader", &pb.MoveLeaderRequest{TargetID: member}, &pb.MoveLeaderResponse{})
		h.call(maintenance+"Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "3.6.0"}, &pb.DowngradeResponse{})
		h.call(maintenance+"Alarm", &pb.AlarmRequest{}, &pb.AlarmResponse{})
		h.call(maintenance+"Status", &pb.StatusRequest{}, &pb.StatusResponse{})
		h.call(maintenance+"Defragment", &pb.DefragmentRequest{}, &pb.DefragmentResponse{})
		h.call(maintenance+"Hash", &pb.HashRequest{}, &pb.HashResponse{})
		h.call(maintenance+"HashKV", &pb.HashKVRequest{}, &pb.HashKVResponse{})
		said[i] = h.lines
	}
	differ(t, said[0], said[1])
}

// A leader that moves elsewhere answers without a header as well.
func TestMoveLeaderAnswersAsEtcd(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"eee", "ooo"} {
		c := newCluster(t, bins(t, kinds)).start()
		leader := c.leader()
		to := c.nodes[0]
		if to == leader {
			to = c.nodes[1]
		}
		out := &pb.MoveLeaderResponse{}
		conn := c.dial(leader).ActiveConnection()
		if err := conn.Invoke(ctx(t), maintenance+"MoveLeader", &pb.MoveLeaderRequest{TargetID: c.id(to)}, out); err != nil {
			t.Fatal(err)
		}
		if out.Header != nil {
			t.Errorf("%s: the header is %v", kinds, out.Header)
		}
		if leads := c.leader(); leads != to {
			t.Errorf("%s: %s leads", kinds, leads.name)
		}
	}
}

// What a watch of history gets at once: all that a thousand revisions hold, in fragments if it asks for
// them, and nothing if that is longer than it can take.
func TestLongHistoryAsEtcd(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var said [2][]string
	for i, s := range p.both {
		for n := range 10 {
			if _, err := s.client.Put(ctx(t), fmt.Sprintf("long%d", n), strings.Repeat("a", 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 1300 {
			if _, err := s.client.Put(ctx(t), fmt.Sprintf("many%d", n), "v"); err != nil {
				t.Fatal(err)
			}
		}
		for _, limit := range []int{1 << 30, 3 << 19} {
			conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, prefix := range []string{"long", "many"} {
				for _, fragment := range []bool{false, true} {
					said[i] = append(said[i], fmt.Sprintf("%s, limit %d, fragments %v: %s", prefix, limit, fragment, longHistory(t, conn, prefix, fragment)))
				}
			}
		}
	}
	differ(t, said[0], said[1])
}

// longHistory is how the events of a prefix come.
func longHistory(t *testing.T, conn *grpc.ClientConn, prefix string, fragment bool) string {
	limited, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	watch, err := pb.NewWatchClient(conn).Watch(limited)
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix)), StartRevision: 1, Fragment: fragment}
	if err := watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]int{"long": 10, "many": 1300}[prefix]
	var lines []string
	for events := 0; events < wanted; {
		resp, err := watch.Recv()
		if err != nil {
			return strings.Join(append(lines, status.Code(err).String()), ", ")
		}
		if !resp.Created {
			lines = append(lines, fmt.Sprintf("%d events, more %v", len(resp.Events), resp.Fragment))
		}
		events += len(resp.Events)
	}
	return strings.Join(lines, ", ")
}

// The variables that every Go program publishes, on the client port alone, and for reading.
func TestDebugVarsAsEtcd(t *testing.T) {
	t.Parallel()
	p := newPair(t, "--max-txn-ops=99")
	var said [2][]string
	for i, s := range p.both {
		resp, err := http.Get(s.url + "/debug/vars")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var vars struct {
			Cmdline  []string       `json:"cmdline"`
			Limit    int            `json:"file_descriptor_limit"`
			Memstats map[string]any `json:"memstats"`
			Raft     struct {
				ID, Vote, Lead, RaftState, LeadTransferee string
				Term                                      int
				Progress                                  map[string]map[string]any
			} `json:"raft.status"`
		}
		var keys map[string]any
		for _, into := range []any{&vars, &keys} {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
		raft, progress := vars.Raft, vars.Raft.Progress[vars.Raft.ID]
		if vars.Limit == 0 || vars.Memstats["Alloc"].(float64) == 0 || vars.Memstats["Sys"].(float64) == 0 {
			t.Errorf("file descriptors %d, memory %v", vars.Limit, vars.Memstats["Alloc"])
		}
		said[i] = []string{
			resp.Status, resp.Header.Get("Content-Type"), resp.Header.Get("Access-Control-Allow-Origin"),
			fmt.Sprint("vars ", sortedKeys(keys)), fmt.Sprint("memory ", sortedKeys(vars.Memstats)),
			fmt.Sprint("raft ", sortedKeys(keys["raft.status"].(map[string]any))), fmt.Sprint("progress ", sortedKeys(progress)),
			fmt.Sprint(raft.Term, raft.RaftState, raft.LeadTransferee, raft.Vote == raft.ID, raft.Lead == raft.ID, progress["state"]),
			vars.Cmdline[1], vars.Cmdline[len(vars.Cmdline)-1],
		}
		posted, err := http.Post(s.url+"/debug/vars", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		posted.Body.Close()
		said[i] = append(said[i], posted.Status, posted.Header.Get("Allow"))
	}
	differ(t, said[0], said[1])
}
