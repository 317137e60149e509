package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"go.etcd.io/etcd/api/v3/version"
	"io"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// filled is a message of that kind with every field that the wire has.
func filled(m *raftpb.Message) *raftpb.Message {
	m.Term, m.LogTerm, m.Index, m.Commit = proto.Uint64(7), proto.Uint64(6), proto.Uint64(1<<40), proto.Uint64(9)
	m.Entries = []*raftpb.Entry{
		{Type: raftpb.EntryNormal.Enum(), Term: proto.Uint64(7), Index: proto.Uint64(1<<40 + 1), Data: []byte("data")},
		{Type: raftpb.EntryConfChange.Enum(), Term: proto.Uint64(7), Index: proto.Uint64(1<<40 + 2)},
	}
	m.Snapshot = &raftpb.Snapshot{Data: []byte("members"), Metadata: &raftpb.SnapshotMetadata{
		Index: proto.Uint64(5), Term: proto.Uint64(6), ConfState: &raftpb.ConfState{Voters: []uint64{goID, ourID}},
	}}
	m.Reject, m.RejectHint, m.Context, m.Vote = proto.Bool(true), proto.Uint64(3), []byte{0, 1, 255}, proto.Uint64(ourID)
	return m
}

// Every kind of message arrives as it was sent, and a bare one too, in both directions.
func TestPeerEveryMessage(t *testing.T) {
	g, e := peerPair(t)
	for number := range len(raftpb.MessageType_name) {
		kind := raftpb.MessageType(number)
		for _, m := range []*raftpb.Message{toOurs(kind), filled(toOurs(kind))} {
			g.transport.Send([]*raftpb.Message{m})
			same(t, e.message(), m)
		}
		for _, m := range []*raftpb.Message{toGo(kind), filled(toGo(kind))} {
			e.send(m)
			same(t, g.message(), m)
		}
		if kind == raftpb.MsgSnap {
			e.expect("done a true")
			e.expect("done a true")
			for range 2 {
				if status := receive(t, g.snapshots); status != raft.SnapshotFinish {
					t.Fatalf("etcd's transport reports %v", status)
				}
			}
		}
	}
}

// appends is what a leader sends: mostly what goes on where the last one ended, sometimes not.
func leaderAppends(n int, blank func(raftpb.MessageType) *raftpb.Message) []*raftpb.Message {
	random := rand.New(rand.NewSource(1))
	term, index := uint64(2), uint64(10)
	var all []*raftpb.Message
	for i := range n {
		m := blank(raftpb.MsgApp)
		logTerm := term
		if random.Intn(50) == 0 {
			term++
		}
		if random.Intn(50) == 0 {
			index += 3
		}
		m.Term, m.LogTerm, m.Index, m.Commit = &term, &logTerm, proto.Uint64(index), proto.Uint64(uint64(i))
		m.Term = proto.Uint64(term)
		for range random.Intn(4) {
			index++
			size := random.Intn(300)
			if random.Intn(100) == 0 {
				size = 1<<20 + random.Intn(1<<19)
			}
			data := make([]byte, size)
			random.Read(data)
			m.Entries = append(m.Entries, &raftpb.Entry{
				Type: raftpb.EntryNormal.Enum(), Term: proto.Uint64(term), Index: proto.Uint64(index), Data: data,
			})
		}
		all = append(all, m)
	}
	return all
}

// A thousand appends with entries, some long, arrive whole and in order, both ways at once.
func TestPeerAppends(t *testing.T) {
	g, e := peerPair(t)
	theirs, ours := leaderAppends(1000, toOurs), leaderAppends(1000, toGo)
	go func() {
		for _, m := range ours {
			e.send(m)
		}
	}()
	g.transport.Send(theirs)
	for _, m := range theirs {
		same(t, e.message(), m)
	}
	for _, m := range ours {
		same(t, g.message(), m)
	}
}

// After every connection was cut, messages go again, both ways; so they do after a peer moved.
func TestPeerReconnects(t *testing.T) {
	g, e := startGoMember(t), startEcho(t)
	toUs, toThem := startProxy(t, e.url), startProxy(t, g.url)
	introduce(g, e, toThem.url, toUs.url)
	for range 3 {
		e.forget()
		toUs.cut()
		toThem.cut()
		flow(g, e)
	}
	e.forget()
	e.tell("update %x %s", goID, g.url)
	e.expect("stream a m")
	flow(g, e)
	g.transport.UpdatePeer(ourID, []string{e.url})
	toUs.cut()
	flow(g, e)
}

// flow returns once messages of both kinds have come through in both directions. They may be lost
// meanwhile, as raft expects, and so are sent again.
func flow(g *goMember, e *echo) {
	g.t.Helper()
	for _, kind := range []raftpb.MessageType{raftpb.MsgHeartbeat, raftpb.MsgApp} {
		arrives(g.t, func() { e.send(toGo(kind)) }, func() bool {
			for len(g.messages) > 0 {
				if m := <-g.messages; m.GetType() == kind {
					return true
				}
			}
			return false
		})
		arrives(g.t, func() { g.transport.Send([]*raftpb.Message{toOurs(kind)}) }, func() bool {
			for len(e.lines) > 0 {
				text, ok := strings.CutPrefix(<-e.lines, "message ")
				if ok && decoded(g.t, text).GetType() == kind {
					return true
				}
			}
			return false
		})
	}
}

func arrives(t testing.TB, send func(), arrived func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		send()
		for range 20 {
			if arrived() {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Fatal("no message arrives any more")
}

func msgSnap(m *raftpb.Message, index uint64) *raftpb.Message {
	m.Snapshot = &raftpb.Snapshot{Data: []byte("members"), Metadata: &raftpb.SnapshotMetadata{
		Index: proto.Uint64(index), Term: proto.Uint64(1),
	}}
	return m
}

func database(t testing.TB, size int) (path string, sum [32]byte) {
	t.Helper()
	data := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(data)
	path = filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path, data, 0o600))
	return path, sha256.Sum256(data)
}

func checkDatabase(t testing.TB, path, want string, sum [32]byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	if filepath.Base(path) != want || sha256.Sum256(data) != sum {
		t.Fatalf("%s, %d bytes, is not the database that was sent as %s", path, len(data), want)
	}
}

// A database of some MB arrives whole under its name, both ways, and both sides hear of it.
func TestPeerDatabase(t *testing.T) {
	g, e := peerPair(t)
	for i, size := range []int{0, 1, 5<<20 + 17} {
		index := uint64(0x100 + i)
		name := fmt.Sprintf("%016x.snap.db", index)
		path, sum := database(t, size)

		e.tell("database %s %s", encoded(t, msgSnap(toGo(raftpb.MsgSnap), index)), path)
		same(t, g.message(), msgSnap(toGo(raftpb.MsgSnap), index))
		checkDatabase(t, filepath.Join(g.dir, name), name, sum)
		e.expect("done a true")

		file, err := os.Open(path)
		must(t, err)
		defer file.Close()
		message := snap.NewMessage(msgSnap(toOurs(raftpb.MsgSnap), index), io.NopCloser(file), int64(size))
		g.transport.SendSnapshot(message)
		text, saved, _ := strings.Cut(e.expect("snapshot "), " ")
		same(t, decoded(t, text), msgSnap(toOurs(raftpb.MsgSnap), index))
		checkDatabase(t, saved, name, sum)
		if status := receive(t, g.snapshots); status != raft.SnapshotFinish || !receive(t, message.CloseNotify()) {
			t.Fatalf("etcd's transport reports %v", status)
		}
	}
	e.tell("database %s %s", encoded(t, toGo(raftpb.MsgApp)), filepath.Join(e.dir, "0000000000000100.snap.db"))
	e.expect("done a false")
}

// A member that was removed is told so when it asks for a stream; what it posts is not taken.
func TestPeerRemovedMember(t *testing.T) {
	t.Run("theirs", func(t *testing.T) {
		g, e := startGoMember(t), startEcho(t)
		e.tell("peer %x %s", goID, g.url)
		e.tell("forget %x", goID)
		g.transport.AddPeer(ourID, []string{e.url})
		receive(t, g.transport.ErrorC)
	})
	t.Run("ours", func(t *testing.T) {
		g, e := startGoMember(t), startEcho(t)
		g.remove(ourID)
		e.tell("peer %x %s", goID, g.url)
		e.expect("expelled a")
	})
	t.Run("ours, by post", func(t *testing.T) {
		g, e := startGoMember(t), startEcho(t)
		g.remove(ourID)
		e.tell("remote %x %s", goID, g.url)
		e.send(toGo(raftpb.MsgVote))
		e.expect("unreachable a")
	})
}

// A member that one side does not know is answered by post at the addresses it sends along.
func TestPeerStranger(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		g, e := startGoMember(t), startEcho(t)
		e.tell("peer %x %s", goID, g.url)
		e.send(toGo(raftpb.MsgVote))
		same(t, g.message(), toGo(raftpb.MsgVote))
		g.transport.Send([]*raftpb.Message{toOurs(raftpb.MsgVoteResp)})
		same(t, e.message(), toOurs(raftpb.MsgVoteResp))
	})
	t.Run("theirs", func(t *testing.T) {
		g, e := startGoMember(t), startEcho(t)
		g.transport.AddPeer(ourID, []string{e.url})
		g.transport.Send([]*raftpb.Message{toOurs(raftpb.MsgVote)})
		same(t, e.message(), toOurs(raftpb.MsgVote))
		e.send(toGo(raftpb.MsgVoteResp))
		same(t, g.message(), toGo(raftpb.MsgVoteResp))
	})
}

// Both sides probe each other; ours measures.
func TestPeerProbes(t *testing.T) {
	_, e := peerPair(t)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		e.tell("stats")
		var id, sent, received, rtt, streams int64
		_, err := fmt.Sscanf(e.expect("stats "), "%x %d %d %d %d", &id, &sent, &received, &rtt, &streams)
		must(t, err)
		if rtt > 0 {
			return
		}
	}
	t.Fatal("no probe was answered")
}

// asked is a request to either side and what may differ in the answer.
type asked struct {
	name, method, path string
	headers            map[string]string
	body               []byte
}

func snapshotBody(m *raftpb.Message, database string) []byte {
	encoded, _ := proto.Marshal(m)
	return slices.Concat(binary.BigEndian.AppendUint64(nil, uint64(len(encoded))), encoded, []byte(database))
}

func questions(to uint64) []asked {
	message := func(kind raftpb.MessageType, from, to uint64) []byte {
		b, _ := proto.Marshal(&raftpb.Message{Type: kind.Enum(), From: proto.Uint64(from), To: proto.Uint64(to)})
		return b
	}
	snapshot := &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: proto.Uint64(1), To: proto.Uint64(to)}
	removed := msgSnap(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: proto.Uint64(0xdead), To: proto.Uint64(to)}, 78)
	misdirected := msgSnap(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: proto.Uint64(1), To: proto.Uint64(99)}, 79)
	app := &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: proto.Uint64(1), To: proto.Uint64(to)}
	h := func(pairs ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	all := []asked{
		{"a message", "POST", "/raft", nil, message(raftpb.MsgVote, 1, to)},
		{"an empty message", "POST", "/raft", nil, nil},
		{"no message", "POST", "/raft", nil, []byte{255}},
		{"from a removed member", "POST", "/raft", nil, message(raftpb.MsgVote, 0xdead, to)},
		{"to someone else", "POST", "/raft", nil, message(raftpb.MsgVote, 1, 99)},
		{"a removed member's database", "POST", "/raft/snapshot", nil, snapshotBody(removed, "bytes")},
		{"someone else's database", "POST", "/raft/snapshot", nil, snapshotBody(misdirected, "bytes")},
		{"a database", "POST", "/raft/snapshot", nil, snapshotBody(msgSnap(snapshot, 77), "bytes")},
		{"no snapshot", "POST", "/raft/snapshot", nil, snapshotBody(app, "bytes")},
		{"an endless message", "POST", "/raft/snapshot", nil, bytes.Repeat([]byte{255}, 20)},
		{"half a message", "POST", "/raft/snapshot", nil, snapshotBody(snapshot, "")[:9]},
		{"no stream", "GET", "/raft/stream/other/1", nil, nil},
		{"a stream of nobody", "GET", "/raft/stream/message/nobody", nil, nil},
		{"a stream too deep", "GET", "/raft/stream/message/1/2", nil, nil},
		{"a stranger's stream", "GET", "/raft/stream/message/1", nil, nil},
		{"a removed member's stream", "GET", "/raft/stream/msgapp/dead", nil, nil},
		{"a stream of someone else", "GET", "/raft/stream/msgapp/77", h("X-Raft-To", "99"), nil},
		{"nothing known", "GET", "/raft/other", nil, nil},
	}
	for _, path := range []string{"/raft", "/raft/snapshot", "/raft/stream/message/1"} {
		method := "POST"
		if strings.Contains(path, "stream") {
			method = "GET"
		}
		all = append(all,
			asked{"the wrong method", "PUT", path, nil, nil},
			asked{"another cluster", method, path, h("X-Etcd-Cluster-ID", "c2"), nil},
			asked{"no cluster", method, path, h("X-Etcd-Cluster-ID", ""), nil},
			asked{"an old member", method, path, h("X-Server-Version", "2.3.8"), nil},
			asked{"a member of before versions", method, path, h("X-Server-Version", ""), nil},
			asked{"a demanding member", method, path, h("X-Min-Cluster-Version", "3.8.0"), nil},
			asked{"an old member of another cluster", method, path,
				h("X-Etcd-Cluster-ID", "c2", "X-Server-Version", "2.3.8"), nil},
		)
	}
	return all
}

func (q asked) answer(t testing.TB, url string) string {
	t.Helper()
	request, err := http.NewRequest(q.method, url+q.path, bytes.NewReader(q.body))
	must(t, err)
	for name, value := range map[string]string{
		"X-Server-From": "1", "X-Server-Version": version.Version, "X-Min-Cluster-Version": "3.0.0",
		"X-Etcd-Cluster-ID": fmt.Sprintf("%x", peerCluster),
	} {
		request.Header.Set(name, value)
	}
	for name, value := range q.headers {
		request.Header.Set(name, value)
		if value == "" {
			request.Header.Del(name)
		}
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	// etcd breaks the connection of whoever sent what its raft does not take.
	if response.StatusCode == http.StatusInternalServerError {
		return response.Status + string(body)
	}
	must(t, err)
	text := fmt.Sprintf("%s\n", response.Status)
	for _, name := range []string{
		"Allow", "Content-Type", "Content-Length", "X-Content-Type-Options", "X-Etcd-Cluster-Id", "X-Server-Version",
	} {
		text += fmt.Sprintf("%s: %s\n", name, response.Header.Get(name))
	}
	return text + string(body)
}

// Whatever is asked, and however wrongly, both sides answer the same.
func TestPeerAnswers(t *testing.T) {
	g, e := startGoMember(t), startEcho(t)
	g.remove(0xdead)
	e.tell("forget dead")
	g.transport.AddPeer(0x77, []string{"http://127.0.0.1:1"})
	e.tell("peer 77 http://127.0.0.1:1")
	e.tell("stats")
	e.expect("stats ")
	theirs, ours := questions(goID), questions(ourID)
	for i := range ours {
		t.Run(ours[i].method+" "+ours[i].path+" "+ours[i].name, func(t *testing.T) {
			want, got := theirs[i].answer(t, g.url), ours[i].answer(t, e.url)
			if got != want {
				t.Errorf("ours:\n%s\netcd's:\n%s", got, want)
			}
		})
	}
	if got := (asked{method: "GET", path: "/version"}).answer(t, e.url); !strings.HasPrefix(got, "200") {
		t.Errorf("other paths are the member's: %s", got)
	}
	e.expect("http GET /version")
}
