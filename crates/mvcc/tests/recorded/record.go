// Records what etcd v3.7's own store answers, for crates/mvcc/tests/recorded.rs.
//
//	go mod init record && go get go.etcd.io/etcd/server/v3@v3.7 && go mod tidy
//	for seed in 1 2 3; do go run record.go $seed > $seed.txt; done
//
// A line that begins with '>' is an operation, bytes in hexadecimal; the lines behind it are etcd's answer.
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/etcdserver/txn"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

var (
	rnd  *rand.Rand
	lg   = zap.NewNop()
	path string
	be   backend.Backend
	kv   mvcc.WatchableKV
)

func open() {
	be = backend.NewDefaultBackend(lg, path)
	kv = mvcc.New(lg, be, &lease.FakeLessor{}, mvcc.StoreConfig{})
}

func shut() {
	kv.Close()
	be.Close()
}

func key() []byte {
	keys := []string{"a", "aa", "ab", "b", "b\x00", "ba", "\xff", "c"}
	return []byte(keys[rnd.Intn(len(keys))])
}

func end() []byte {
	switch rnd.Intn(4) {
	case 0:
		return nil
	case 1:
		return []byte{0}
	}
	return key()
}

func value() []byte {
	sizes := []int{0, 1, 2, 5, 130}
	v := make([]byte, sizes[rnd.Intn(len(sizes))])
	rnd.Read(v)
	return v
}

// The store takes nil for one key and an empty slice for no end.
func storeEnd(end []byte) []byte {
	if len(end) == 1 && end[0] == 0 {
		return []byte{}
	}
	return end
}

func refusal(err error) string {
	switch {
	case errors.Is(err, mvcc.ErrCompacted):
		return "compacted"
	case errors.Is(err, mvcc.ErrFutureRev):
		return "future"
	}
	return err.Error()
}

func write() {
	tw := kv.Write(traceutil.TODO())
	fmt.Println("> begin")
	used := map[string]bool{}
	for i := rnd.Intn(4); i >= 0; i-- {
		if rnd.Intn(4) > 0 {
			k, v := key(), value()
			if used[string(k)] {
				continue
			}
			used[string(k)] = true
			lease := []int64{0, 0, 7, -3}[rnd.Intn(4)]
			fmt.Printf("> put %x %x %d\n", k, v, lease)
			fmt.Printf("revision %d\n", tw.Put(k, v, leaseID(lease)))
		} else if len(used) == 0 {
			k, e := key(), end()
			fmt.Printf("> delete %x %x\n", k, e)
			n, rev := tw.DeleteRange(k, storeEnd(e))
			fmt.Printf("deleted %d revision %d\n", n, rev)
			break
		}
	}
	tw.End()
	fmt.Println("> end")
	fmt.Printf("revision %d\n", kv.Rev())
}

func leaseID(id int64) lease.LeaseID { return lease.LeaseID(id) }

func filter() int64 {
	if rnd.Intn(4) > 0 {
		return 0
	}
	return rnd.Int63n(kv.Rev() + 3)
}

func read() {
	r := &pb.RangeRequest{
		Key: key(), RangeEnd: end(), Limit: int64(rnd.Intn(6)) - 1,
		Revision:  rnd.Int63n(kv.Rev()+3) * int64(rnd.Intn(2)),
		SortOrder: pb.RangeRequest_SortOrder(rnd.Intn(3)), SortTarget: pb.RangeRequest_SortTarget(rnd.Intn(5)),
		KeysOnly: rnd.Intn(4) == 0, CountOnly: rnd.Intn(10) == 0,
		MinModRevision: filter(), MaxModRevision: filter(), MinCreateRevision: filter(), MaxCreateRevision: filter(),
	}
	fmt.Printf("> range %x %x %d %d %d %d %t %t %d %d %d %d\n", r.Key, r.RangeEnd, r.Limit, r.Revision, r.SortOrder,
		r.SortTarget, r.KeysOnly, r.CountOnly, r.MinModRevision, r.MaxModRevision, r.MinCreateRevision, r.MaxCreateRevision)
	resp, _, err := txn.Range(context.Background(), lg, kv, r, true)
	if err != nil {
		fmt.Println(refusal(err))
		return
	}
	fmt.Printf("revision %d count %d more %t\n", resp.Header.Revision, resp.Count, resp.More)
	for _, found := range resp.Kvs {
		b, _ := proto.Marshal(found)
		fmt.Printf("kv %x\n", b)
	}
}

func hash() {
	rev := rnd.Int63n(kv.Rev() + 2)
	fmt.Printf("> hash %d\n", rev)
	h, current, err := kv.HashStorage().HashByRev(rev)
	if err != nil {
		fmt.Println(refusal(err))
		return
	}
	fmt.Printf("hash %08x compact %d at %d current %d\n", h.Hash, h.CompactRevision, h.Revision, current)
}

func compact() {
	rev := rnd.Int63n(kv.Rev() + 2)
	fmt.Printf("> compact %d\n", rev)
	done, err := kv.Compact(traceutil.TODO(), rev)
	if err != nil {
		fmt.Println(refusal(err))
		return
	}
	<-done
	fmt.Println("ok")
}

func rows() {
	fmt.Println("> rows")
	be.ForceCommit()
	tx := be.ReadTx()
	tx.RLock()
	defer tx.RUnlock()
	tx.UnsafeForEach(schema.Key, func(k, v []byte) error {
		fmt.Printf("row %x %x\n", k, v)
		return nil
	})
	tx.UnsafeForEach(schema.Meta, func(k, v []byte) error {
		fmt.Printf("meta %s %s\n", k, hex.EncodeToString(v))
		return nil
	})
}

func main() {
	seed, _ := strconv.ParseInt(os.Args[1], 10, 64)
	rnd = rand.New(rand.NewSource(seed))
	dir, _ := os.MkdirTemp("", "record")
	defer os.RemoveAll(dir)
	path = filepath.Join(dir, "db")
	open()
	for i := 0; i < 200; i++ {
		switch n := rnd.Intn(100); {
		case n < 45:
			write()
		case n < 75:
			read()
		case n < 85:
			hash()
		case n < 92:
			compact()
		case n < 94:
			rows()
		default:
			fmt.Println("> reopen")
			shut()
			open()
			fmt.Printf("revision %d\n", kv.Rev())
		}
	}
	rows()
	shut()
}
