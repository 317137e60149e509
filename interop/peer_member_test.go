package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// follower speaks for the third member of a cluster of real members: alive, but without a log.
type follower struct {
	*echo
	id uint64
	// kinds counts what came.
	kinds map[raftpb.MessageType]int
}

// step answers heartbeats, so that the leader finds the member alive, and nothing else; it says
// whether a database came.
func (f *follower) step() (path string, arrived bool) {
	f.t.Helper()
	select {
	case line := <-f.lines:
		if text, ok := strings.CutPrefix(line, "snapshot "); ok {
			_, path, _ := strings.Cut(text, " ")
			return path, true
		}
		if text, ok := strings.CutPrefix(line, "message "); ok {
			f.answer(decoded(f.t, text))
		}
	case <-time.After(patience):
		f.t.Fatalf("the members fell silent after %v", f.kinds)
	}
	return "", false
}

func (f *follower) answer(m *raftpb.Message) {
	f.t.Helper()
	f.kinds[m.GetType()]++
	if m.GetTo() != f.id {
		f.t.Fatalf("a message for %x came", m.GetTo())
	}
	if m.GetType() == raftpb.MsgHeartbeat {
		f.send(&raftpb.Message{
			Type: raftpb.MsgHeartbeatResp.Enum(), From: &f.id, To: m.From, Term: m.Term, Context: m.Context,
		})
	}
}

// Two real members take ours for their third: they send heartbeats and appends over its streams, hear
// its answers over theirs, and, as it has no log, bring it their database, which is a sound one.
func TestPeerOfRealMembers(t *testing.T) {
	bin := tool(t, "etcd")
	ports := [3]ports{freePorts(t), freePorts(t), freePorts(t)}
	var cluster, clients []string
	for i, p := range ports {
		cluster = append(cluster, fmt.Sprintf("m%d=http://127.0.0.1:%d", i, p.peer))
		clients = append(clients, fmt.Sprintf("http://127.0.0.1:%d", p.client))
	}
	for i := range 2 {
		peer := fmt.Sprintf("http://127.0.0.1:%d", ports[i].peer)
		startReal(t, bin, fmt.Sprintf("--name=m%d", i), "--initial-cluster="+strings.Join(cluster, ","),
			"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
			"--listen-client-urls="+clients[i], "--advertise-client-urls="+clients[i],
			"--snapshot-count=10", "--snapshot-catchup-entries=1")
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: clients[:2], Logger: zap.NewNop()})
	must(t, err)
	defer client.Close()
	for i := range 50 {
		_, err := client.Put(ctx(t), fmt.Sprintf("key%d", i), strings.Repeat("v", 10_000))
		must(t, err)
	}
	members, err := client.MemberList(ctx(t))
	must(t, err)

	f := &follower{id: named(members, ports[2]).ID, kinds: map[raftpb.MessageType]int{}}
	f.echo = startEchoAs(t, f.id, members.Header.ClusterId, fmt.Sprintf("127.0.0.1:%d", ports[2].peer))
	for i := range 2 {
		f.tell("peer %x http://127.0.0.1:%d", named(members, ports[i]).ID, ports[i].peer)
	}
	path, arrived := "", false
	for !arrived {
		path, arrived = f.step()
	}
	if f.kinds[raftpb.MsgHeartbeat] == 0 {
		t.Errorf("no heartbeats came, only %v", f.kinds)
	}
	if out := run(t, tool(t, "bbolt"), "check", path); !strings.Contains(out, "OK") {
		t.Errorf("the database is damaged: %s", out)
	}
	// The leader goes on with appends after the snapshot; it was told that it arrived.
	for f.kinds[raftpb.MsgApp] == 0 {
		f.step()
	}
}

// named is the member at that port.
func named(members *clientv3.MemberListResponse, p ports) *pb.Member {
	for _, m := range members.Members {
		if strings.HasSuffix(m.PeerURLs[0], fmt.Sprintf(":%d", p.peer)) {
			return m
		}
	}
	return &pb.Member{}
}

// startReal starts a member and does not wait for it.
func startReal(t testing.TB, bin string, args ...string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	log, err := os.Create(dir + ".log")
	must(t, err)
	cmd := exec.Command(bin, append(args, "--data-dir="+dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(dir + ".log"); t.Failed() {
			t.Logf("etcd said:\n%s", text)
		}
	})
}
