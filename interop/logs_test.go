package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

// saying is one line of a log: what all lines have, and the names of its fields.
type saying struct {
	level, logger, message string
	fields                 map[string]any
}

// A test of a log's texts: numbers and ids differ from run to run.
var (
	logIDs     = regexp.MustCompile(`\b[0-9a-f]{13,16}\b`)
	logNumbers = regexp.MustCompile(`\b\d+\b`)
	logPaths   = regexp.MustCompile(`\([^()]*/db\)`)
)

// logLines reads a log of JSON lines; all of it must be such.
func logLines(t testing.TB, path string) []saying {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	var lines []saying
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines = append(lines, parseLine(t, in.Text()))
	}
	must(t, in.Err())
	return lines
}

func parseLine(t testing.TB, text string) saying {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("the log has a line that is no JSON: %v: %s", err, text)
	}
	line := saying{fields: fields}
	take := func(name string) string {
		value, _ := fields[name].(string)
		delete(fields, name)
		return value
	}
	line.level, line.logger, line.message = take("level"), take("logger"), take("msg")
	for _, common := range []string{"ts", "caller"} {
		if take(common) == "" {
			t.Fatalf("a line of the log has no %s: %s", common, text)
		}
	}
	// A stack of Go's says nothing about ours.
	take("stacktrace")
	return line
}

// kind is the line without what differs from run to run.
func (l saying) kind() string {
	text := logPaths.ReplaceAllString(l.message, "(DB)")
	text = logNumbers.ReplaceAllString(logIDs.ReplaceAllString(text, "ID"), "N")
	text = regexp.MustCompile(`voters=\([ID ]*\)`).ReplaceAllString(text, "voters=(IDS)")
	text = regexp.MustCompile(`peers: \[[ID, ]*\]`).ReplaceAllString(text, "peers: [IDS]")
	text, _, _ = strings.Cut(text, " with mode -rw")
	if l.logger != "" {
		text = l.logger + ": " + text
	}
	return l.level + " " + text
}

// kinds are the lines' kinds with the names of the fields that any of a kind has.
func kinds(lines []saying) map[string][]string {
	all := map[string][]string{}
	for _, line := range lines {
		kind := line.kind()
		names := all[kind]
		for name := range line.fields {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		all[kind] = names
	}
	return all
}

// TestLogsSayWhatEtcdsDo leads both servers through the same life and compares what they log: every
// message with its level and the names of its fields.
func TestLogsSayWhatEtcdsDo(t *testing.T) {
	for _, life := range []struct {
		name string
		live func(testing.TB, string) []saying
	}{{"Single", singleLife}, {"Cluster", clusterLife}} {
		t.Run(life.name, func(t *testing.T) {
			mine, theirs := kinds(life.live(t, ours(t))), kinds(life.live(t, tool(t, "etcd")))
			if os.Getenv("HOLDFAST_SHOW_LOGS") != "" {
				show(t, "ours", mine)
				show(t, "etcd's", theirs)
			}
			compareLogs(t, mine, theirs)
		})
	}
}

func show(t *testing.T, whose string, all map[string][]string) {
	var lines []string
	for kind, names := range all {
		lines = append(lines, fmt.Sprintf("%s %v", kind, names))
	}
	sort.Strings(lines)
	t.Logf("%s:\n%s", whose, strings.Join(lines, "\n"))
}

func compareLogs(t *testing.T, mine, theirs map[string][]string) {
	for kind, want := range theirs {
		got, said := mine[kind]
		_, listed := notSaid[kind]
		switch {
		case said && listed:
			t.Errorf("ours says %q: take it off the list of what it does not say", kind)
		case !said && !listed && !slices.Contains(byChance, kind):
			t.Errorf("ours does not say %q %v", kind, want)
		case said:
			compareFields(t, kind, want, got)
		}
	}
	for kind := range mine {
		_, known := onlyOurs[kind]
		if _, said := theirs[kind]; !said && !known && !slices.Contains(byChance, kind) {
			t.Errorf("ours alone says %q %v", kind, mine[kind])
		}
	}
}

func compareFields(t *testing.T, kind string, want, got []string) {
	for _, name := range want {
		if !slices.Contains(got, name) && !slices.Contains(fieldsAbsent[kind], name) {
			t.Errorf("ours says %q without %s", kind, name)
		}
	}
	for _, name := range got {
		// How often a line was left out that is said at a bounded rate.
		if name == "left-out" {
			continue
		}
		if !slices.Contains(want, name) && !slices.Contains(fieldsAbsent[kind], name) {
			t.Errorf("ours says %q with %s, which etcd's has not", kind, name)
		}
	}
}

// What etcd logs and ours does not, each with its reason. The list can only shrink: what ours says must not be on it.
var notSaid = because(
	unsaid{
		"Each is a goroutine of its own in etcd; here tasks of one transport begin and end with the peer.",
		[]string{
			"info starting remote peer",
			"info started remote peer",
			"info stopping remote peer",
			"info stopped remote peer",
			"info started stream reader with remote peer",
			"info stopped stream reader with remote peer",
			"info started stream writer with remote peer",
			"info stopped TCP streaming connection with remote peer",
			"warn closed TCP streaming connection with remote peer",
			"info set message encoder",
			"info started HTTP pipelining with remote peer",
			"info stopped HTTP pipelining with remote peer",
			"info cmux::serve",
			"info server has stopped; stopping cluster version's monitor",
			"info server has stopped; stopping storage version's monitor",
		},
	},
	unsaid{
		"Errors that Go's servers make of being closed: nothing is wrong.",
		[]string{
			"error setting up serving from embedded etcd failed.",
			"warn stopping insecure grpc server due to error",
			"warn stopped insecure grpc server due to error",
		},
	},
	unsaid{
		"Steps of a start or of a snapshot that are one here; the lines around them are said.",
		[]string{
			"info Bootstrapping WAL from snapshot",
			"info Constructed a new raft snapshot from v3 state",
			"info Skipping snapshot backend",
			"info bootstrap successfully",
			"info bootstrapping cluster",
			"info bootstrapping raft",
			"info bootstrapping storage",
			"info constructed a snapshot from WAL record",
			"info bbolt: Opening bbolt db (DB) successfully",
			"info bbolt: Opening db file (DB)",
			"info applySnapshot: opened snapshot backend",
			"info closing old backend file",
			"info closed old backend file",
			"info restoring lease store",
			"info restored lease store",
			"info restoring mvcc store",
			"info restored mvcc store",
			"info restoring alarm store",
			"info restored alarm store",
			"info restoring auth store",
			"info restored auth store",
			"info restoring cluster configuration",
			"info restored cluster configuration",
			"info removing old peers from network",
			"info removed old peers from network",
			"info adding peers from new cluster configuration",
			"info added peers from new cluster configuration",
			"info saved database snapshot to disk",
			"info sent database snapshot to writer",
			"info sent merged snapshot",
		},
	},
	unsaid{
		"Entries that the database holds already are not applied again here.",
		[]string{
			"info ignore already added member",
			"info ignore already promoted member",
			"info ignore already removed member",
			"info ignored already updated member",
			"warn skipped attributes update of removed member",
		},
	},
	unsaid{
		"Raft is a value here and has no log; the roles and leaders that come of its messages are said.",
		[]string{
			"info raft: ID [commit: N, lastindex: N, lastterm: N] restored snapshot [index: N, term: N]",
			"info raft: ID [commit: N] restored snapshot [index: N, term: N]",
			"info raft: ID [logterm: N, index: N, vote: N] cast MsgPreVote for ID [logterm: N, index: N] at term N",
			"info raft: ID [logterm: N, index: N, vote: N] cast MsgVote for ID [logterm: N, index: N] at term N",
			"info raft: ID [logterm: N, index: N, vote: N] rejected MsgPreVote from ID [logterm: N, index: N] at term N",
			"info raft: ID [logterm: N, index: N] sent MsgPreVote request to ID at term N",
			"info raft: ID [logterm: N, index: N] sent MsgVote request to ID at term N",
			"info raft: ID [term N] received MsgTimeoutNow from ID and starts an election to get leadership.",
			"info raft: ID [term N] starts to transfer leadership to ID",
			"info raft: ID [term N] transfer leadership to ID is in progress, ignores request to same node ID",
			"info raft: ID [term: N] received a MsgVote message with higher term from ID [term: N]",
			"info raft: ID [term: N] received a MsgHeartbeat message with higher term from ID [term: N]",
			"info raft: ID [term: N] received a MsgApp message with higher term from ID [term: N]",
			"info raft: ID [term: N] ignored a MsgVote message with lower term from ID [term: N]",
			"info raft: ID [term: N] ignored a MsgPreVoteResp message with lower term from ID [term: N]",
			"info raft: ID [term: N] ignored a MsgVoteResp message with lower term from ID [term: N]",
			"info raft: ID [logterm: N, index: N, vote: ID] rejected MsgVote from ID [logterm: N, index: N] at term N",
			"info raft: ID [logterm: N, index: N, vote: ID] rejected MsgPreVote from ID [logterm: N, index: N] at term N",
			"info raft: ID received MsgVoteResp rejection from ID at term N",
			"info raft: ID received MsgPreVoteResp rejection from ID at term N",
			"info raft: ID has received N MsgPreVoteResp votes and N vote rejections",
			"info raft: ID has received N MsgVoteResp votes and N vote rejections",
			"info raft: ID received MsgPreVoteResp from ID at term N",
			"info raft: ID received MsgVoteResp from ID at term N",
			"info raft: ID sends MsgTimeoutNow to ID immediately as ID already has up-to-date log",
			"info raft: ID sends MsgTimeoutNow to ID after received MsgAppResp",
			"info raft: log [committed=N, applied=N, applying=N, unstable.offset=N, unstable.offsetInProgress=N, len(unstable.Entries)=N] starts to restore snapshot [index: N, term: N]",
			"info raft: newRaft ID [peers: [IDS], term: N, commit: N, applied: N, lastindex: N, lastterm: N]",
		},
	},
	unsaid{
		"It is done otherwise here: hashes are made when they are asked for, files are let go with each snapshot, a member alone needs no ticks to lead, the log is kept by a rule of its own, one loop serves both protocols.",
		[]string{
			"info storing new hash",
			"info started to purge file",
			"info started as single-node; fast-forwarding election ticks",
			"info starting initial election tick advance",
			"info skip compaction since there is an inflight snapshot",
			"warn Running http and grpc server on single port. This is not recommended for production.",
		},
	},
	unsaid{
		"Authentication is absent.",
		[]string{
			"warn simple token is not cryptographically signed",
		},
	},
)

// unsaid is why some of etcd's messages are not ours.
type unsaid struct {
	why   string
	kinds []string
}

func because(reasons ...unsaid) map[string]string {
	all := map[string]string{}
	for _, reason := range reasons {
		for _, kind := range reason.kinds {
			all[kind] = reason.why
		}
	}
	return all
}

// What ours logs and etcd does not.
var onlyOurs = map[string]string{
	"warn peer deactivated again": "Said again at a bounded rate; in etcd it is for debugging only.",
}

// Fields that one of them has and the other has not.
var fieldsAbsent = map[string][]string{
	// Hashes are made when they are asked for.
	"info finished scheduled compaction": {"hash"},
	// Ours says it of the reader, who hears of the loss; etcd's writer says it too.
	"info established TCP streaming connection with remote peer": {"stream-writer-type"},
	"warn lost TCP streaming connection with remote peer":        {"stream-writer-type", "stream-reader-type", "error"},
	// One of the two refusals of this text has it in etcd.
	"warn rejected stream from remote peer because it was removed": {"cluster-id"},
	"warn failed to process Raft message":                          {"remote-peer-id"},
	"info starting etcd server":                                    {"cluster-id"},
}

// What either server says in some runs only: it depends on who is faster.
var byChance = []string{
	"error rejecting promote learner: learner is not ready",
	"info raft: ID became pre-candidate at term N",
	"info raft: ID became candidate at term N",
	"info raft: ID is starting a new election at term N",
	"info raft: raft.node: ID lost leader ID at term N",
	"info raft: raft.node: ID changed leader from ID to ID at term N",
	"info initialized peer connections; fast-forwarding election ticks",
	"info skipped leadership transfer; local server is not leader",
	"info updating cluster version using v3 API",
	"info cluster version is updated",
	"info The server is ready to downgrade",
	"error failed to update storage version",
	"warn Failed to detect schema version",
	"info added new remote peer",
	"warn failed to apply request",
	"warn failed to find remote peer in cluster",
	"warn failed to publish local member to cluster through raft",
	"warn message exceeded backend quota; raising alarm",
	"warn remotes server has mismatching etcd version",
	"warn failed to process Raft message",
	"warn failed to promote a member",
	"warn leadership transfer failed",
	"warn lost TCP streaming connection with remote peer",
	"warn peer became inactive (message send to peer failed)",
	"warn prober detected unhealthy status",
	"warn rejected Raft message from removed member",
	"warn rejected stream from remote peer because it was removed",
	"warn rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum",
	"warn rejecting member remove request; local member has not been connected to all peers, reconfigure breaks active quorum",
	"warn waiting for ReadIndex response took too long, retrying",
	"warn apply request took too long",
	"warn request stats",
}
