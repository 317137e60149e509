package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// member is one process of a cluster of several.
type member struct {
	*server
	bin, name, dir string
	p              ports
}

func (m *member) peer() string { return fmt.Sprintf("http://127.0.0.1:%d", m.p.peer) }

func newMember(t testing.TB, bin, name string) *member {
	return &member{bin: bin, name: name, dir: filepath.Join(t.TempDir(), name), p: freePorts(t)}
}

// args are the flags that every member has.
func (m *member) args(more ...string) []string {
	client := fmt.Sprintf("http://127.0.0.1:%d", m.p.client)
	return append([]string{
		"--name=" + m.name, "--data-dir=" + m.dir,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + m.peer(), "--initial-advertise-peer-urls=" + m.peer(),
	}, more...)
}

// launch starts a member and does not wait for it.
func (m *member) launch(t testing.TB, more ...string) {
	t.Helper()
	cmd := exec.Command(m.bin, m.args(more...)...)
	log, err := os.OpenFile(m.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, cmd: cmd, url: fmt.Sprintf("http://127.0.0.1:%d", m.p.client)}
	t.Cleanup(s.kill)
	m.server = s
}

// ready waits until a member serves, and connects to it.
func (m *member) ready(t testing.TB) {
	t.Helper()
	m.await(m.dir + ".log")
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{m.url}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.client = c
	t.Cleanup(func() { c.Close() })
}

func (m *member) log() string {
	text, _ := os.ReadFile(m.dir + ".log")
	return string(text)
}

func listOf(members ...*member) string {
	var pairs []string
	for _, m := range members {
		pairs = append(pairs, m.name+"="+m.peer())
	}
	return "--initial-cluster=" + strings.Join(pairs, ",")
}

// newCluster runs one member of each binary.
func newMembers(t testing.TB, args []string, bins ...string) []*member {
	t.Helper()
	var members []*member
	for n, bin := range bins {
		members = append(members, newMember(t, bin, fmt.Sprintf("m%d", n)))
	}
	for _, m := range members {
		m.launch(t, append([]string{listOf(members...)}, args...)...)
	}
	for _, m := range members {
		m.ready(t)
	}
	return members
}

func memberIDs(t testing.TB, m *member) map[string]uint64 {
	t.Helper()
	list, err := m.client.MemberList(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]uint64{}
	for _, one := range list.Members {
		ids[one.Name] = one.ID
	}
	return ids
}

// A member whose cluster is lost goes on alone, with what was committed, whoever wrote its data.
func TestForceNewCluster(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for _, way := range []struct{ name, writer, forcer string }{
		{"etcd by etcd", reference, reference},
		{"etcd by ours", reference, bin},
		{"ours by etcd", bin, reference},
		{"ours by ours", bin, bin},
	} {
		t.Run(way.name, func(t *testing.T) {
			members := newMembers(t, nil, way.writer, way.writer, way.writer)
			for n := range 20 {
				if _, err := members[0].client.Put(ctx(t), fmt.Sprintf("k%d", n), "v"); err != nil {
					t.Fatal(err)
				}
			}
			id := memberIDs(t, members[0])["m0"]
			// That an entry is committed is on the disk with the ones after it.
			for range 3 {
				if _, err := members[0].client.Put(ctx(t), "later", "v"); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range members {
				m.kill()
			}
			m := members[0]
			m.bin = way.forcer
			m.launch(t, listOf(members...), "--force-new-cluster")
			m.ready(t)
			checkAlone(t, m, id)
			m.kill()
			m.launch(t, listOf(members...))
			m.ready(t)
			checkAlone(t, m, id)
		})
	}
}

func checkAlone(t *testing.T, m *member, id uint64) {
	t.Helper()
	if ids := memberIDs(t, m); len(ids) != 1 || ids["m0"] != id {
		t.Errorf("the members are %x, want only %x", ids, id)
	}
	if got, err := m.client.Get(ctx(t), "k", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || got.Count != 20 {
		t.Errorf("there are %v keys, want 20: %v", got, err)
	}
	if _, err := m.client.Put(ctx(t), "x", "y"); err != nil {
		t.Error(err)
	}
}

var errorField = regexp.MustCompile(`"error":"((?:[^"\\]|\\.)*)"`)

// refusal is the last error that a server logs before it ends.
func refusal(t testing.TB, m *member, more ...string) string {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(c, m.bin, m.args(more...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil || c.Err() != nil {
		t.Errorf("%s %v was not refused: %v\n%s", m.bin, more, err, out.String())
	}
	found := errorField.FindAllStringSubmatch(out.String(), -1)
	if len(found) == 0 {
		return out.String()
	}
	return found[len(found)-1][1]
}

// What is wrong with the first members is said in etcd's words.
func TestBootstrapRefusals(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	running := newMembers(t, nil, reference)[0]
	nobody := fmt.Sprintf("http://127.0.0.1:%d", freePorts(t).peer)
	for name, args := range map[string]func(me string) []string{
		"name not listed":     func(me string) []string { return []string{"--initial-cluster=x=" + me} },
		"other url listed":    func(string) []string { return []string{"--initial-cluster=m=" + nobody} },
		"one url more listed": func(me string) []string { return []string{"--initial-cluster=m=" + me + ",m=" + nobody} },
		"url listed twice":    func(me string) []string { return []string{"--initial-cluster=m=" + me + ",n=" + me} },
		"another scheme":      func(string) []string { return []string{"--initial-cluster=m=ftp://127.0.0.1:1"} },
		"no port":             func(string) []string { return []string{"--initial-cluster=m=http://127.0.0.1"} },
		"a path":              func(me string) []string { return []string{"--initial-cluster=m=" + me + "/x"} },
		"nobody to join": func(me string) []string {
			return []string{"--initial-cluster=m=" + me + ",n=" + nobody, "--initial-cluster-state=existing"}
		},
		"more listed than there are": func(me string) []string {
			return []string{"--initial-cluster=m=" + me + ",n=" + running.peer(), "--initial-cluster-state=existing"}
		},
		"another one running": func(me string) []string {
			return []string{"--initial-cluster=m=" + me, "--initial-cluster-state=existing"}
		},
		"half of discovery": func(string) []string { return []string{"--discovery-token=x"} },
		"two ways": func(me string) []string {
			return []string{"--initial-cluster=m=" + me, "--discovery-srv=example.invalid"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := freePorts(t)
			var got [2]string
			for i, bin := range []string{reference, bin} {
				m := &member{bin: bin, name: "m", dir: filepath.Join(t.TempDir(), fmt.Sprint(i)), p: p}
				got[i] = refusal(t, m, args(m.peer())...)
			}
			if got[0] != got[1] {
				t.Errorf("etcd: %s\nours: %s", got[0], got[1])
			}
		})
	}
}

// Who has lost its data must not come back as if nothing had happened; nor may one join under
// another's URLs.
func TestMemberWithoutItsDataIsRefused(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	members := newMembers(t, nil, reference, bin, reference)
	lost := members[2]
	id := memberIDs(t, members[0])["m2"]
	lost.kill()
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	for _, bin := range []string{reference, bin} {
		lost.bin = bin
		got := refusal(t, lost, listOf(members...))
		if want := fmt.Sprintf("member %x has already been bootstrapped", id); got != want {
			t.Errorf("%s: %s, want %s", bin, got, want)
		}
	}
}

// Three of ours and one of etcd's find each other through an etcd that runs; a fifth is too many.
func TestDiscovery(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for name, service := range map[string]string{"etcd": reference, "ours": bin} {
		t.Run("through "+name, func(t *testing.T) {
			found := newMembers(t, nil, service)[0]
			if _, err := found.client.Put(ctx(t), "/_etcd/registry/tok/_config/size", "4"); err != nil {
				t.Fatal(err)
			}
			args := []string{"--discovery-token=tok", "--discovery-endpoints=" + found.url}
			var members []*member
			for n, bin := range []string{bin, bin, reference, bin} {
				members = append(members, newMember(t, bin, fmt.Sprintf("d%d", n)))
			}
			for _, m := range members {
				m.launch(t, args...)
			}
			for _, m := range members {
				m.ready(t)
			}
			if _, err := members[0].client.Put(ctx(t), "k", "v"); err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				if got, err := m.client.Get(ctx(t), "k"); err != nil || got.Count != 1 {
					t.Errorf("%s: %v %v", m.name, got, err)
				}
				if ids := memberIDs(t, m); len(ids) != 4 {
					t.Errorf("%s knows %v", m.name, ids)
				}
			}
			var got [2]string
			for i, bin := range []string{reference, bin} {
				got[i] = refusal(t, newMember(t, bin, "late"), args...)
			}
			if got[0] != got[1] || !strings.Contains(got[1], "cluster is full") {
				t.Errorf("etcd: %s\nours: %s", got[0], got[1])
			}
		})
	}
}
