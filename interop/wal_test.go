package interop

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// walfile is our tool for logs, built beside the server: `cargo build -p wal --example walfile`.
func walfile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(ours(t)), "examples", "walfile")
	if isFile(path) != nil {
		if os.Getenv("HOLDFAST_REQUIRE") != "" {
			t.Fatalf("%s is missing; run `cargo build -p wal --example walfile`", path)
		}
		t.Skipf("skipped: %s is missing; run `cargo build -p wal --example walfile`", path)
	}
	return path
}

func number(n uint64) *uint64 { return &n }

func walStart() *walpb.Snapshot { return &walpb.Snapshot{Index: number(0), Term: number(0)} }

// dumpWAL is what etcd reads from a log, in the form of `walfile dump`.
func dumpWAL(t testing.TB, dir string) string {
	t.Helper()
	lg := zap.NewNop()
	if _, err := wal.Verify(lg, dir, walStart()); err != nil {
		t.Fatalf("etcd's verification of %s: %v", dir, err)
	}
	snapshots, err := wal.ValidSnapshotEntries(lg, dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wal.Open(lg, dir, walStart())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	metadata, state, entries, err := w.ReadAll()
	if err != nil {
		t.Fatalf("etcd reading %s: %v", dir, err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "metadata %x\nstate %d %d %d\n", metadata, state.GetTerm(), state.GetVote(), state.GetCommit())
	for _, s := range snapshots {
		fmt.Fprintf(&out, "snapshot %d %d\n", s.GetIndex(), s.GetTerm())
	}
	for _, e := range entries {
		fmt.Fprintf(&out, "entry %d %d %d %x\n", e.GetIndex(), e.GetTerm(), e.GetType(), e.GetData())
	}
	return out.String()
}

// growWAL appends by chance what raft could append, as etcd.
func growWAL(t testing.TB, w *wal.WAL, seed int64, state *raftpb.HardState, last uint64) {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	term, commit := state.GetTerm()+1, state.GetCommit()
	for range 60 {
		if r.Intn(8) == 0 {
			term++
			last -= uint64(r.Int63n(int64(last-commit) + 1))
		}
		var entries []*raftpb.Entry
		for range r.Intn(4) {
			last++
			data := make([]byte, r.Intn(8192))
			r.Read(data)
			entries = append(entries, &raftpb.Entry{Term: number(term), Index: number(last), Data: data})
		}
		commit += uint64(r.Int63n(int64(last-commit) + 1))
		hard := &raftpb.HardState{Term: number(term), Vote: number(7), Commit: number(commit)}
		if err := w.Save(hard, entries); err != nil {
			t.Fatal(err)
		}
		if r.Intn(10) == 0 && commit > 0 {
			snapshot := &walpb.Snapshot{Index: number(commit), Term: number(term), ConfState: &raftpb.ConfState{Voters: []uint64{7}}}
			if err := w.SaveSnapshot(snapshot); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A log goes back and forth, each side continuing what the other wrote over several segments, and
// both read the same in it.
func TestLogsAreExchanged(t *testing.T) {
	tool := walfile(t)
	before := wal.SegmentSizeBytes
	wal.SegmentSizeBytes = 64 * 1024
	t.Cleanup(func() { wal.SegmentSizeBytes = before })
	for seed := range int64(6) {
		dir := filepath.Join(t.TempDir(), "wal")
		if seed%2 == 0 {
			run(t, tool, "write", fmt.Sprint(seed), dir)
		} else {
			w, err := wal.Create(zap.NewNop(), dir, []byte("a member of a cluster"))
			if err != nil {
				t.Fatal(err)
			}
			growWAL(t, w, seed, &raftpb.HardState{}, 0)
			w.Close()
		}
		for round := range int64(4) {
			theirs, mine := dumpWAL(t, dir), run(t, tool, "dump", dir)
			if theirs != mine {
				t.Fatalf("seed %d, round %d: etcd reads\n%.2000s\nours\n%.2000s", seed, round, theirs, mine)
			}
			if (seed+round)%2 == 1 {
				run(t, tool, "append", fmt.Sprint(seed*10+round), dir)
				continue
			}
			w, err := wal.Open(zap.NewNop(), dir, walStart())
			if err != nil {
				t.Fatal(err)
			}
			_, state, entries, err := w.ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			growWAL(t, w, seed*10+round, state, entries[len(entries)-1].GetIndex())
			w.Close()
		}
		if segments, _ := filepath.Glob(filepath.Join(dir, "*.wal")); len(segments) < 5 {
			t.Fatalf("seed %d: only %d segments", seed, len(segments))
		}
	}
}
