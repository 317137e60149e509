package main

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const (
	// keySpace is the number of keys that exist before anything is measured.
	keySpace = 10_000
	// valueBytes is the size of every value.
	valueBytes = 256
	// txnPuts is the number of puts in one transaction of the loader.
	txnPuts = 100
	// connectionsMax is the number of connections that clients share when there are more of them.
	connectionsMax = 100
)

// rawCodec hands encoded messages through, so that the generator spends nothing on coding.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

// workload is one kind of request.
type workload struct {
	name   string
	method string
	// request is the encoded request of one call; every client has its own r.
	request func(r *rand.Rand) []byte
	// answerBytesMin is the least a right answer can take: an empty one must not count.
	answerBytesMin int
}

func key(n int) []byte { return fmt.Appendf(nil, "key-%08d", n) }

func value(r *rand.Rand) []byte {
	v := make([]byte, valueBytes)
	r.Read(v)
	return v
}

func encode(m proto.Message) []byte {
	raw, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

func workloads() []workload {
	const kv = "/etcdserverpb.KV/"
	return []workload{
		// Nothing but the way there and back.
		{"empty", "/grpc.health.v1.Health/Check", func(*rand.Rand) []byte { return nil }, 2},
		{"put", kv + "Put", func(r *rand.Rand) []byte {
			return encode(&pb.PutRequest{Key: key(r.Intn(keySpace)), Value: value(r)})
		}, 4},
		{"range 1 key", kv + "Range", func(r *rand.Rand) []byte {
			return encode(&pb.RangeRequest{Key: key(r.Intn(keySpace))})
		}, valueBytes},
		{"range 100 keys", kv + "Range", func(r *rand.Rand) []byte {
			from := r.Intn(keySpace - 100)
			return encode(&pb.RangeRequest{Key: key(from), RangeEnd: key(from + 100)})
		}, 100 * valueBytes},
	}
}

// outcome is what one workload with one number of clients came to.
type outcome struct {
	opsPerSecond     float64
	p50, p99         time.Duration
	cpuPerOp         time.Duration
	rssPeak, rssLast int64
}

// measure lets clients call for warm, then for length, and counts the second part only.
func measure(s *server, w workload, clients int, warm, length time.Duration) (outcome, error) {
	conns := make([]*grpc.ClientConn, min(clients, connectionsMax))
	for i := range conns {
		conn, err := dial(s.addr)
		if err != nil {
			return outcome{}, err
		}
		defer conn.Close()
		conns[i] = conn
	}
	var counting atomic.Bool
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	took := make([][]time.Duration, clients)
	failed := make([]error, clients)
	for c := range clients {
		wg.Go(func() {
			took[c], failed[c] = client(ctx, conns[c%len(conns)], w, int64(c), &counting)
			if failed[c] != nil {
				cancel()
			}
		})
	}
	time.Sleep(warm)
	s.forgetPeak()
	before, err := s.cpu()
	if err != nil {
		return outcome{}, err
	}
	begin := time.Now()
	counting.Store(true)
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
	counting.Store(false)
	wall := time.Since(begin)
	after, err := s.cpu()
	now, peak := s.memory()
	cancel()
	wg.Wait()
	for _, e := range append(failed, err) {
		if e != nil {
			return outcome{}, e
		}
	}
	all := slices.Concat(took...)
	if len(all) == 0 {
		return outcome{}, fmt.Errorf("%s: not one call was answered", w.name)
	}
	slices.Sort(all)
	return outcome{
		opsPerSecond: float64(len(all)) / wall.Seconds(),
		p50:          all[len(all)/2],
		p99:          all[len(all)*99/100],
		cpuPerOp:     (after - before) / time.Duration(len(all)),
		rssPeak:      peak,
		rssLast:      now,
	}, nil
}

// client calls one after the other until ctx ends and returns how long each counted call took.
func client(ctx context.Context, conn *grpc.ClientConn, w workload, seed int64, counting *atomic.Bool) ([]time.Duration, error) {
	r := rand.New(rand.NewSource(seed))
	var took []time.Duration
	for {
		request := w.request(r)
		var answer int
		begin := time.Now()
		err := conn.Invoke(ctx, w.method, &request, &answer, grpc.ForceCodecV2(rawCodec{}))
		if ctx.Err() != nil {
			return took, nil
		}
		if err != nil {
			return took, fmt.Errorf("%s: %w", w.name, err)
		}
		if answer < w.answerBytesMin {
			return took, fmt.Errorf("%s: an answer of %d bytes, at least %d expected", w.name, answer, w.answerBytesMin)
		}
		if counting.Load() {
			took = append(took, time.Since(begin))
		}
	}
}

// load puts keys 0..n in transactions of txnPuts, some of them under way at once.
func load(s *server, n int) error {
	const clients = 8
	conn, err := dial(s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	var next atomic.Int64
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewSource(int64(c)))
			for {
				first := int(next.Add(txnPuts)) - txnPuts
				if first >= n {
					return
				}
				txn := &pb.TxnRequest{}
				for k := first; k < min(first+txnPuts, n); k++ {
					put := &pb.PutRequest{Key: key(k), Value: value(r)}
					txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
				}
				if _, errs[c] = kv.Txn(context.Background(), txn); errs[c] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}
