package interop

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// requests makes a seeded sequence of every kind of key-value and lease request, sound and unsound.
type requests struct {
	*rand.Rand
	rev int64
}

func (r *requests) key() []byte { return []byte(fmt.Sprintf("k%d", r.Intn(12))) }

func (r *requests) end() []byte {
	switch r.Intn(6) {
	case 0:
		return []byte{0}
	case 1:
		return r.key()
	case 2:
		return []byte("l")
	default:
		return nil
	}
}

func (r *requests) revision() int64 {
	switch r.Intn(8) {
	case 0:
		return r.rev + 5
	case 1:
		return -1
	case 2, 3:
		return r.rev - int64(r.Intn(20))
	default:
		return 0
	}
}

func (r *requests) rangeRequest() *pb.RangeRequest {
	q := &pb.RangeRequest{Key: r.key(), RangeEnd: r.end(), Revision: r.revision()}
	if r.Intn(3) == 0 {
		q.Limit = int64(r.Intn(5))
	}
	// Ties under a sort that is not by key have no order of their own, so sort by unique targets.
	if r.Intn(3) == 0 {
		q.SortTarget = []pb.RangeRequest_SortTarget{pb.RangeRequest_KEY, pb.RangeRequest_KEY, 99}[r.Intn(3)]
		q.SortOrder = pb.RangeRequest_SortOrder(r.Intn(4))
	}
	q.KeysOnly = r.Intn(5) == 0
	q.CountOnly = r.Intn(8) == 0
	if r.Intn(5) == 0 {
		q.MinModRevision = r.rev - int64(r.Intn(30))
		q.MaxCreateRevision = r.rev - int64(r.Intn(10))
	}
	if r.Intn(20) == 0 {
		q.Key = nil
	}
	return q
}

func (r *requests) put() *pb.PutRequest {
	q := &pb.PutRequest{Key: r.key(), Value: []byte(fmt.Sprintf("v%d", r.Int63()))}
	q.PrevKv = r.Intn(3) == 0
	switch r.Intn(10) {
	case 0:
		q.IgnoreValue, q.Value = true, nil
	case 1:
		q.IgnoreLease = true
	case 2:
		q.Lease = int64(r.Intn(6))
	case 3:
		q.IgnoreValue = true
	}
	return q
}

func (r *requests) del() *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: r.key(), RangeEnd: r.end(), PrevKv: r.Intn(2) == 0}
}

func (r *requests) compare() *pb.Compare {
	c := &pb.Compare{Key: r.key(), Result: pb.Compare_CompareResult(r.Intn(5)), Target: pb.Compare_CompareTarget(r.Intn(6))}
	if r.Intn(4) == 0 {
		c.RangeEnd = r.end()
	}
	n := r.rev - int64(r.Intn(10))
	switch r.Intn(5) {
	case 0:
		c.TargetUnion = &pb.Compare_Version{Version: int64(r.Intn(3))}
	case 1:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: n}
	case 2:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: n}
	case 3:
		c.TargetUnion = &pb.Compare_Value{Value: []byte("v5")}
	}
	return c
}

func (r *requests) ops(depth int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for range r.Intn(4) {
		switch r.Intn(6) {
		case 0, 1:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r.rangeRequest()}})
		case 2, 3:
			p := r.put()
			// A transaction that deletes a key and then keeps its value or lease kills the reference.
			p.IgnoreValue, p.IgnoreLease = false, false
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: p}})
		case 4:
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r.del()}})
		case 5:
			if depth > 0 {
				ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r.txn(depth - 1)}})
			} else if r.Intn(10) == 0 {
				ops = append(ops, &pb.RequestOp{})
			}
		}
	}
	return ops
}

func (r *requests) txn(depth int) *pb.TxnRequest {
	q := &pb.TxnRequest{Success: r.ops(depth), Failure: r.ops(depth)}
	for range r.Intn(3) {
		q.Compare = append(q.Compare, r.compare())
	}
	return q
}

// next is a method and its request.
func (r *requests) next() (string, proto.Message, proto.Message) {
	const kv, lease = "/etcdserverpb.KV/", "/etcdserverpb.Lease/"
	switch n := r.Intn(40); {
	case n < 12:
		return kv + "Put", r.put(), &pb.PutResponse{}
	case n < 20:
		return kv + "Range", r.rangeRequest(), &pb.RangeResponse{}
	case n < 24:
		return kv + "DeleteRange", r.del(), &pb.DeleteRangeResponse{}
	case n < 34:
		return kv + "Txn", r.txn(2), &pb.TxnResponse{}
	case n < 35:
		return kv + "Compact", &pb.CompactionRequest{Revision: r.rev - int64(r.Intn(25)), Physical: true}, &pb.CompactionResponse{}
	case n < 37:
		return lease + "LeaseGrant", &pb.LeaseGrantRequest{ID: int64(1 + r.Intn(5)), TTL: int64(1000 * (1 + r.Intn(8)))}, &pb.LeaseGrantResponse{}
	case n < 38:
		return lease + "LeaseRevoke", &pb.LeaseRevokeRequest{ID: int64(1 + r.Intn(5))}, &pb.LeaseRevokeResponse{}
	case n < 39:
		return lease + "LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: int64(1 + r.Intn(6))}, &pb.LeaseTimeToLiveResponse{}
	default:
		return "/etcdserverpb.Maintenance/HashKV", &pb.HashKVRequest{Revision: r.revision()}, &pb.HashKVResponse{}
	}
}

// ask sends a request as it is, with no client library between, and gives the answer as text.
func ask(ctx context.Context, conn *grpc.ClientConn, method string, in, out proto.Message) (string, int64) {
	if err := conn.Invoke(ctx, method, in, out); err != nil {
		s := status.Convert(err)
		return fmt.Sprintf("%v: %s", s.Code(), s.Message()), 0
	}
	rev := int64(0)
	if h, ok := out.(interface{ GetHeader() *pb.ResponseHeader }); ok && h.GetHeader() != nil {
		rev = h.GetHeader().Revision
		h.GetHeader().ClusterId, h.GetHeader().MemberId, h.GetHeader().RaftTerm = 0, 0, 0
	}
	if ttl, ok := out.(*pb.LeaseTimeToLiveResponse); ok && ttl.TTL > 0 {
		ttl.TTL = 1
	}
	text, err := protojson.Marshal(out)
	if err != nil {
		return err.Error(), rev
	}
	return strings.ReplaceAll(string(text), " ", ""), rev
}

// The same requests to a real etcd and to ours: every answer is the same, and so is every hash.
func TestDifferential(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	a := start(t, reference, t.TempDir()+"/a", freePorts(t))
	b := start(t, bin, t.TempDir()+"/b", freePorts(t))
	connA, connB := a.client.ActiveConnection(), b.client.ActiveConnection()
	for seed := range int64(4) {
		r := &requests{Rand: rand.New(rand.NewSource(seed)), rev: 1}
		for i := range 1500 {
			method, in, out := r.next()
			other := proto.Clone(out)
			wantText, rev := ask(ctx(t), connA, method, in, out)
			gotText, _ := ask(ctx(t), connB, method, proto.Clone(in), other)
			if wantText != gotText {
				t.Fatalf("seed %d, request %d: %s\n%v\netcd: %s\nours: %s", seed, i, method, in, wantText, gotText)
			}
			r.rev = max(r.rev, rev)
		}
	}
}
