package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaderOf finds the member that leads.
func leaderOf(t testing.TB, members []*member) *member {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		for _, m := range members {
			if m.cmd.ProcessState != nil {
				continue
			}
			status, err := m.client.Status(ctx(t), m.url)
			if err == nil && status.Leader == status.Header.MemberId {
				return m
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("nobody leads")
	return nil
}

// A leader that is told to stop gives the leadership away first: writes go on at once.
func TestLeaderHandsOverBeforeItStops(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for name, bins := range map[string][]string{"ours": {bin, bin, bin}, "mixed": {bin, reference, bin}} {
		t.Run(name, func(t *testing.T) {
			members := newMembers(t, []string{"--election-timeout=5000", "--heartbeat-interval=500"}, bins...)
			leader := leaderOf(t, members)
			if leader.bin != bin {
				to := memberIDs(t, members[0])["m0"]
				if _, err := leader.client.MoveLeader(ctx(t), to); err != nil {
					t.Fatal(err)
				}
				leader = leaderOf(t, members)
			}
			term := termOf(t, leader)
			leader.stop()
			if log := leader.log(); !strings.Contains(log, "leadership transfer finished") {
				t.Errorf("its log does not tell of the transfer:\n%s", log)
			}
			var rest []*member
			for _, m := range members {
				if m != leader {
					rest = append(rest, m)
				}
			}
			begun := time.Now()
			if _, err := rest[0].client.Put(ctx(t), "k", "v"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("the write took %v, an election", took)
			}
			if now := termOf(t, rest[0]); now != term+1 {
				t.Errorf("the term went from %d to %d", term, now)
			}
		})
	}
}

func termOf(t testing.TB, m *member) uint64 {
	t.Helper()
	status, err := m.client.Status(ctx(t), m.url)
	if err != nil {
		t.Fatal(err)
	}
	return status.RaftTerm
}

// Who asked for a leader is told when there is none: requests at once, streams after a while.
func TestLossOfTheLeaderIsTold(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for name, bin := range map[string]string{"etcd": reference, "ours": bin} {
		t.Run(name, func(t *testing.T) {
			members := newMembers(t, nil, bin, bin, bin)
			left := members[0]
			bound := clientv3.WithRequireLeader(context.Background())
			watch := left.client.Watch(bound, "k")
			free := left.client.Watch(context.Background(), "k")
			if _, err := left.client.Put(ctx(t), "k", "v"); err != nil {
				t.Fatal(err)
			}
			for _, w := range []clientv3.WatchChan{watch, free} {
				if r := <-w; len(r.Events) != 1 {
					t.Fatal(r)
				}
			}
			members[1].kill()
			members[2].kill()
			begun := time.Now()
			select {
			case r := <-watch:
				if r.Err() != rpctypes.ErrNoLeader {
					t.Errorf("the watch ended with %v", r.Err())
				}
			case <-time.After(20 * time.Second):
				t.Error("the watch did not end")
			}
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("that took %v", took)
			}
			limited, cancel := context.WithTimeout(bound, 5*time.Second)
			defer cancel()
			if _, err := left.client.Get(limited, "k", clientv3.WithSerializable()); err != rpctypes.ErrNoLeader {
				t.Errorf("a read that requires a leader: %v", err)
			}
			if _, err := left.client.Get(ctx(t), "k", clientv3.WithSerializable()); err != nil {
				t.Errorf("a read that does not: %v", err)
			}
			select {
			case r, ok := <-free:
				t.Errorf("a watch that asked for nothing ended: %v %v", r, ok)
			default:
			}
		})
	}
}

// The ways to other members are counted under etcd's names, and told of in its words.
func TestPeersAreCountedAndLogged(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	members := newMembers(t, nil, bin, bin, reference)
	for n := range 50 {
		if _, err := members[0].client.Put(ctx(t), fmt.Sprint(n), strings.Repeat("v", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	stopped := members[1]
	id := memberIDs(t, members[0])["m1"]
	stopped.kill()
	want := []string{
		fmt.Sprintf(`etcd_network_active_peers{Local="%x",Remote="%x"} 0`, memberIDs(t, members[0])["m0"], id),
		"etcd_network_disconnected_peers_total{", "etcd_network_known_peers{",
		"etcd_network_peer_sent_bytes_total{", "etcd_network_peer_received_bytes_total{",
		"etcd_network_peer_round_trip_time_seconds_count{",
	}
	for _, m := range []*member{members[0], members[2]} {
		var text string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			text = metricsText(t, m)
			if missingOf(text, want) == "" {
				break
			}
			if m == members[2] {
				want[0] = "etcd_network_active_peers{"
			}
			time.Sleep(50 * time.Millisecond)
		}
		if missing := missingOf(text, want); missing != "" {
			t.Errorf("%s lacks %s:\n%s", m.bin, missing, networkLines(text))
		}
	}
	for _, words := range []string{
		`"msg":"peer became active","peer-id":`,
		`"msg":"peer became inactive (message send to peer failed)"`,
		"established TCP streaming connection with remote peer",
		"lost TCP streaming connection with remote peer",
		"elected leader", "ready to serve client requests",
	} {
		for _, m := range []*member{members[0], members[2]} {
			if !strings.Contains(m.log(), words) {
				t.Errorf("the log of %s lacks %q", m.bin, words)
			}
		}
	}
}

func missingOf(text string, want []string) string {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return w
		}
	}
	return ""
}

func networkLines(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "etcd_network_") && !strings.Contains(line, "_bucket") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func metricsText(t testing.TB, m *member) string {
	t.Helper()
	resp, err := http.Get(m.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A cluster is told to go down a version, and not to, with the same answers from both servers.
func TestDowngrade(t *testing.T) {
	bin, reference, ctl := ours(t), tool(t, "etcd"), tool(t, "etcdctl")
	said := map[string][]string{}
	for name, bins := range map[string][]string{
		"etcd": {reference, reference, reference}, "ours": {bin, bin, bin}, "mixed": {bin, reference, bin},
	} {
		members := newMembers(t, nil, bins...)
		for _, m := range members {
			untilVersion(t, m, "3.7")
		}
		for _, args := range []string{
			"downgrade validate 3.6", "downgrade validate 3.6.0", "downgrade validate 3.5",
			"downgrade validate 3.7", "downgrade validate x", "downgrade validate 4.0",
			"downgrade cancel", "downgrade enable 3.5", "downgrade enable 3.6",
		} {
			said[name] = append(said[name], args+": "+ctlSays(ctl, members[0], args))
		}
		for _, m := range members {
			untilVersion(t, m, "3.6")
			said[name] = append(said[name], "enabled "+page(t, m.peer()+"/downgrade/enabled"))
		}
		for _, args := range []string{"downgrade enable 3.6", "downgrade validate 3.5", "downgrade cancel"} {
			said[name] = append(said[name], args+": "+ctlSays(ctl, members[0], args))
		}
		for _, m := range members {
			untilVersion(t, m, "3.7")
			said[name] = append(said[name], "enabled "+page(t, m.peer()+"/downgrade/enabled"))
		}
		for _, m := range members {
			m.kill()
		}
	}
	for _, name := range []string{"ours", "mixed"} {
		for n, want := range said["etcd"] {
			if got := said[name][n]; got != want {
				t.Errorf("%s: %s\netcd: %s", name, got, want)
			}
		}
	}
}

func ctlSays(ctl string, m *member, args string) string {
	out, _ := command(ctl, append([]string{"--endpoints=" + m.url}, strings.Fields(args)...)...)
	return portNumber.ReplaceAllString(timestamps.ReplaceAllString(errorLines(out), "TIME"), "ADDRESS")
}

// errorLines leaves out what the client logs, whose addresses differ.
func errorLines(out string) string {
	var lines []string
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func untilVersion(t testing.TB, m *member, version string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		got = page(t, m.peer()+"/version")
		if strings.Contains(got, `"etcdcluster":"`+version) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s says %s, want %s", m.name, got, version)
}

func page(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// A leader that was stopped for longer than a lease lasts does not revoke it when it wakes: its
// client kept it alive with the new leader.
func TestWokenLeaderRevokesNothing(t *testing.T) {
	bin := ours(t)
	members := newMembers(t, nil, bin, bin, bin)
	leader := leaderOf(t, members)
	other := members[0]
	if other == leader {
		other = members[1]
	}
	lease, err := other.client.Grant(ctx(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(9 * time.Second); time.Now().Before(end); {
		limited, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _ = other.client.KeepAliveOnce(limited, lease.ID)
		cancel()
		time.Sleep(300 * time.Millisecond)
	}
	if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		alive, err := other.client.KeepAliveOnce(ctx(t), lease.ID)
		if err != nil || alive.TTL <= 0 {
			t.Fatalf("the lease is gone: %v %v", alive, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}
