package interop

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/confchange"
	raftquorum "go.etcd.io/raft/v3/quorum"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/rafttest"
	"go.etcd.io/raft/v3/tracker"
)

// raftScripts are our scripts of raft. crates/raft replays them; their outputs are what this test
// wrote down with the Go library.
const raftScripts = "../crates/raft/tests/scripts"

// raftMachine is what runs the commands of one script.
type raftMachine func(t *testing.T, d *datadriven.TestData) string

// TestRaftScripts asks the Go library for the output of every command in our scripts. With
// HOLDFAST_REWRITE set it writes down what the library says instead of comparing.
func TestRaftScripts(t *testing.T) {
	if os.Getenv("HOLDFAST_REWRITE") != "" {
		if err := flag.Set("rewrite", "true"); err != nil {
			t.Fatal(err)
		}
	}
	for kind, of := range map[string]struct {
		atLeast int
		machine func() raftMachine
	}{
		"interaction": {36, raftCluster},
		"confchange":  {5, raftConfiguration},
		"quorum":      {3, func() raftMachine { return raftQuorum }},
	} {
		files, err := filepath.Glob(filepath.Join(raftScripts, kind, "*.txt"))
		if err != nil || len(files) < of.atLeast {
			t.Fatalf("%d scripts of %s (%v)", len(files), kind, err)
		}
		for _, file := range files {
			t.Run(kind+"/"+filepath.Base(file), func(t *testing.T) {
				datadriven.RunTest(t, file, of.machine())
			})
		}
	}
}

// raftCluster is the library's own environment of whole clusters.
func raftCluster() raftMachine {
	env := rafttest.NewInteractionEnv(nil)
	return func(t *testing.T, d *datadriven.TestData) string { return env.Handle(t, *d) }
}

// raftConfiguration changes one configuration: simple, enter-joint and leave-joint.
func raftConfiguration() raftMachine {
	changer := confchange.Changer{Tracker: tracker.MakeProgressTracker(10, 0)}
	return func(t *testing.T, d *datadriven.TestData) string {
		defer func() { changer.LastIndex++ }()
		changes, err := raftpb.ConfChangesFromString(d.Input)
		if err != nil {
			return err.Error()
		}
		var config tracker.Config
		var progress tracker.ProgressMap
		switch d.Cmd {
		case "simple":
			config, progress, err = changer.Simple(changes...)
		case "enter-joint":
			values := scriptValues(d, "autoleave")
			autoLeave := len(values) > 0 && values[0] == "true"
			config, progress, err = changer.EnterJoint(autoLeave, changes...)
		case "leave-joint":
			config, progress, err = changer.LeaveJoint()
		default:
			t.Fatalf("unknown command %s", d.Cmd)
		}
		if err != nil {
			return err.Error() + "\n"
		}
		changer.Tracker.Config, changer.Tracker.Progress = config, progress
		return fmt.Sprintf("%s\n%s", config, progress)
	}
}

// acked is how far voters have acknowledged.
type acked map[uint64]raftquorum.Index

func (a acked) AckedIndex(id uint64) (raftquorum.Index, bool) {
	index, ok := a[id]
	return index, ok
}

// raftQuorum decides for cfg, joint with cfgj if that is there: committed with idx, vote with votes.
// Each voter has the value at its place in the order in which voters are first named; _ is none.
func raftQuorum(t *testing.T, d *datadriven.TestData) string {
	var halves [2]raftquorum.MajorityConfig
	var order []uint64
	said := map[uint64]string{}
	for half, key := range []string{"cfg", "cfgj"} {
		halves[half] = raftquorum.MajorityConfig{}
		for _, name := range scriptValues(d, key) {
			id, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			halves[half][id] = struct{}{}
			if _, known := said[id]; !known {
				said[id] = "_"
				order = append(order, id)
			}
		}
	}
	for n, value := range append(scriptValues(d, "idx"), scriptValues(d, "votes")...) {
		said[order[n]] = value
	}
	isJoint, joint := len(scriptValues(d, "cfgj")) > 0, raftquorum.JointConfig(halves)
	indexes, votes := acked{}, map[uint64]bool{}
	for id, value := range said {
		if index, err := strconv.ParseUint(value, 10, 64); err == nil {
			indexes[id] = raftquorum.Index(index)
		} else if value != "_" {
			votes[id] = value == "y"
		}
	}
	var out strings.Builder
	switch {
	case d.Cmd == "vote" && isJoint:
		fmt.Fprintf(&out, "%v\n", joint.VoteResult(votes))
	case d.Cmd == "vote":
		fmt.Fprintf(&out, "%v\n", halves[0].VoteResult(votes))
	case isJoint:
		fmt.Fprintf(&out, "%s%s\n", joint.Describe(indexes), joint.CommittedIndex(indexes))
	default:
		fmt.Fprintf(&out, "%s%s\n", halves[0].Describe(indexes), halves[0].CommittedIndex(indexes))
	}
	return out.String()
}

func scriptValues(d *datadriven.TestData, key string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == key {
			return arg.Vals
		}
	}
	return nil
}
