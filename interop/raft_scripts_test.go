package interop

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/rafttest"
)

// raftScripts are our scripts of clusters stepped by hand. crates/raft replays them; their outputs
// are what this test wrote down with the Go library.
const raftScripts = "../crates/raft/tests/scripts/interaction"

// TestRaftScripts asks the Go library for the output of every command in our scripts. With
// HOLDFAST_REWRITE set it writes down what the library says instead of comparing.
func TestRaftScripts(t *testing.T) {
	if os.Getenv("HOLDFAST_REWRITE") != "" {
		if err := flag.Set("rewrite", "true"); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(raftScripts, "*.txt"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scripts in %s (%v)", len(files), raftScripts, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			env := rafttest.NewInteractionEnv(nil)
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				return env.Handle(t, *d)
			})
		})
	}
}
