package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// heard is what one sees of a member from outside: who it is, what it advertises and where it listens.
func heard(t *testing.T, bin string, p ports, endpoint string, args []string) string {
	t.Helper()
	m := &member{bin: bin, name: "m", dir: filepath.Join(t.TempDir(), "m"), p: p}
	m.launch(t, args...)
	defer m.kill()
	m.await(m.dir + ".log")
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	list, err := client.MemberList(ctx(t))
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", bin, args, err, m.log())
	}
	text := fmt.Sprintf("cluster %x", list.Header.ClusterId)
	for _, one := range list.Members {
		text += fmt.Sprintf("\nmember %x %q peers %q clients %q", one.ID, one.Name, one.PeerURLs, one.ClientURLs)
	}
	for _, port := range []int{p.client, p.peer} {
		for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(host, fmt.Sprint(port)), 5*time.Second)
			if err == nil {
				c.Close()
			}
			text += fmt.Sprintf("\n%s %t", host, err == nil)
		}
	}
	return text
}

// A member that starts is the same one, advertises the same and listens in the same places.
func TestMembersStartWithTheSameAddresses(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for name, args := range map[string]func(p ports) []string{
		"upper case": func(p ports) []string {
			return []string{
				fmt.Sprintf("--listen-client-urls=HTTP://127.0.0.1:%d", p.client), fmt.Sprintf("--advertise-client-urls=HtTp://Localhost:%d", p.client),
				fmt.Sprintf("--initial-advertise-peer-urls=HTTP://127.0.0.1:%d", p.peer), fmt.Sprintf("--initial-cluster=m=http://127.0.0.1:%d", p.peer),
			}
		},
		"a long form": func(p ports) []string {
			return []string{
				fmt.Sprintf("--listen-peer-urls=http://[0:0::1]:%d", p.peer),
				fmt.Sprintf("--initial-advertise-peer-urls=http://[0:0::1]:%d", p.peer), fmt.Sprintf("--initial-cluster=m=http://[::1]:%d", p.peer),
			}
		},
		"mapped": func(p ports) []string {
			return []string{
				fmt.Sprintf("--listen-client-urls=http://[::ffff:127.0.0.1]:%d", p.client),
				fmt.Sprintf("--initial-advertise-peer-urls=http://[::ffff:127.0.0.1]:%d", p.peer), fmt.Sprintf("--initial-cluster=m=http://127.0.0.1:%d", p.peer),
			}
		},
		"everywhere": func(p ports) []string {
			return []string{fmt.Sprintf("--listen-client-urls=http://0.0.0.0:%d", p.client), fmt.Sprintf("--listen-peer-urls=http://[::]:%d", p.peer)}
		},
		"repeated": func(p ports) []string {
			url := fmt.Sprintf("http://127.0.0.1:%d", p.client)
			return []string{"--listen-client-urls=" + url + "," + url, "--advertise-client-urls=http://b:1, http://a:1,http://b:1"}
		},
		"with a user, a query and a fragment": func(p ports) []string {
			return []string{
				fmt.Sprintf("--initial-advertise-peer-urls=http://u@127.0.0.1:%d?x#y", p.peer),
				fmt.Sprintf("--initial-cluster=m=http://127.0.0.1:%d", p.peer), fmt.Sprintf("--advertise-client-urls=http://u:p@a:%d?", p.client),
			}
		},
		"a name": func(p ports) []string {
			return []string{
				fmt.Sprintf("--listen-client-urls=http://localhost:%d", p.client), "--advertise-client-urls=http://%C3%BC:1,unix:///a b,unixs://c:1",
				fmt.Sprintf("--initial-advertise-peer-urls=http://localhost:%d", p.peer), fmt.Sprintf("--initial-cluster=m=http://localhost:%d", p.peer),
			}
		},
		"a zero before the port": func(p ports) []string {
			return []string{
				fmt.Sprintf("--listen-client-urls=http://127.0.0.1:0%d", p.client), fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:0%d", p.peer),
				fmt.Sprintf("--initial-cluster=m=http://127.0.0.1:0%d", p.peer),
			}
		},
		"members in any order": func(p ports) []string {
			return []string{fmt.Sprintf("--initial-cluster=,m=http://127.0.0.1:%d,", p.peer)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := freePorts(t)
			var got [2]string
			for i, bin := range []string{reference, bin} {
				got[i] = heard(t, bin, p, fmt.Sprintf("127.0.0.1:%d", p.client), args(p))
			}
			if got[0] != got[1] {
				t.Errorf("etcd: %s\nours: %s", got[0], got[1])
			}
		})
	}
}

// Addresses that are none are refused for the same reason.
func TestMembersRefuseTheSameAddresses(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	for _, args := range [][]string{
		{"--listen-client-urls=http://:2379"},
		{"--listen-client-urls=http://example.com:2379"},
		{"--listen-client-urls=http://127.0.0.010:2379"},
		{"--listen-client-urls=http://[fe80::1%25lo]:2379"},
		{"--listen-client-urls=http://127.0.0.1:65536"},
		{"--listen-peer-urls=http://a:2380"},
		{"--listen-peer-urls=http://127.0.0.1:70000"},
		{"--listen-metrics-urls=http://a:2381"},
		{"--advertise-client-urls=http://:2379"},
		{"--advertise-client-urls=http://b:1,http://:2379"},
		{"--initial-advertise-peer-urls=http://:2380"},
		{"--initial-cluster=m"},
		{"--initial-cluster=m="},
		{"--initial-cluster=x=http://127.0.0.1:1"},
		{"--initial-cluster=m=http://127.0.0.1:1"},
		{"--initial-cluster=m=http://[fd00:0::1]:1", "--initial-advertise-peer-urls=http://[fd00::2]:1"},
		{"--initial-cluster=m=http://[fd00:0::1]:1,n=http://[fd00:0::1]:1", "--initial-advertise-peer-urls=http://[fd00::1]:1"},
		{"--initial-cluster=m=http://10.0.0.1:1,m=http://10.0.0.1:1", "--initial-advertise-peer-urls=http://10.0.0.1:1"},
		{"--initial-cluster=m=http://localhost:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"},
		{"--initial-cluster=m=HTTP://u@10.0.0.1:1", "--initial-advertise-peer-urls=http://10.0.0.2:1"},
		{"--initial-cluster=m=unix:///a", "--initial-advertise-peer-urls=unix:///b"},
		{"--initial-cluster=m=http://10.0.0.1:1/", "--initial-advertise-peer-urls=http://10.0.0.1:1"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			p := freePorts(t)
			var got [2]string
			for i, bin := range []string{reference, bin} {
				m := &member{bin: bin, name: "m", dir: filepath.Join(t.TempDir(), fmt.Sprint(i)), p: p}
				got[i] = refusal(t, m, args...)
			}
			if got[0] != got[1] {
				t.Errorf("etcd: %s\nours: %s", got[0], got[1])
			}
		})
	}
}

var identity = regexp.MustCompile(` *\b[0-9a-f]{12,16}\b`)

// Members are added, changed and shown alike, whatever their addresses.
func TestMembersAreAddedWithTheSameAddresses(t *testing.T) {
	ctl, our := tool(t, "etcdctl"), filepath.Join(filepath.Dir(ours(t)), "etcdctl")
	lists := []string{
		"HTTP://a:1", "http://b:2,http://a:1", " http://a:1,http://a:1", "http://[FD00:0::1]:1", "http://ü:1", "http://%C3%BC:1", "unix:a", "unix:///a b",
		"http://:1", "http://a:", "http://a:99999", "http://u:p@a:1?x#y", "http://a", "http://a:1/", "ftp://a:1", "a:1", "1.2.3.4:1", "http://a:x", "http://a:1,",
		"http://127.0.0.010:1", "http://[fe80::1%25lo]:1", "http://[1.2.3.4]:1", "http://a b:1", "http://a:1:2", "",
	}
	var got [2]string
	for i, bin := range []string{tool(t, "etcd"), ours(t)} {
		s := start(t, bin, filepath.Join(t.TempDir(), "m"), freePorts(t))
		var text strings.Builder
		say := func(program string, args ...string) string {
			out, _ := exec.Command(program, append([]string{"--endpoints=" + s.url}, args...)...).CombinedOutput()
			return string(out)
		}
		own := ""
		list := func() (others []string) {
			var members struct {
				Members []struct {
					ID       uint64
					PeerURLs []string
				}
			}
			if err := json.Unmarshal([]byte(say(ctl, "member", "list", "-w", "json")), &members); err != nil {
				t.Fatal(err)
			}
			for _, m := range members.Members {
				if id := fmt.Sprintf("%x", m.ID); own == "" {
					own = id
				} else if id != own {
					others = append(others, id)
					fmt.Fprintf(&text, "  has %q\n", m.PeerURLs)
				}
			}
			return others
		}
		list()
		for _, urls := range lists {
			for _, program := range []string{ctl, our} {
				var out string
				for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
					out = say(program, "member", "add", "--learner", "n", "--peer-urls="+urls)
					// Within a second the id would be that of the member that was just removed.
					if !strings.Contains(out, "member not found") {
						break
					}
				}
				if strings.HasPrefix(out, "Member") {
					out = identity.ReplaceAllString(strings.ReplaceAll(out, s.url[len("http://"):], "HOST"), " ID")
					out, _, _ = strings.Cut(out, "ETCD_INITIAL_CLUSTER=")
				}
				fmt.Fprintf(&text, "add %q: %s", urls, out)
				ids := list()
				if len(ids) == 0 {
					continue
				}
				for _, other := range lists {
					text.WriteString("update " + other + ": " + identity.ReplaceAllString(say(program, "member", "update", ids[0], "--peer-urls="+other), " ID"))
					if other == "http://b:2,http://a:1" {
						break
					}
				}
				list()
				say(ctl, "member", "remove", ids[0])
			}
		}
		got[i] = text.String()
		s.kill()
	}
	if got[0] != got[1] {
		a, b := strings.Split(got[0], "\n"), strings.Split(got[1], "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("etcd: %s\nours: %s", strings.Join(a[max(0, i-3):i+1], "\n"), b[i])
			}
		}
		t.Fatalf("etcd has %d lines, ours %d", len(a), len(b))
	}
	t.Logf("%d lines are the same", strings.Count(got[0], "\n"))
}

// A snapshot is restored for the same members, or refused for the same reason.
func TestSnapshotsAreRestoredForTheSameAddresses(t *testing.T) {
	reference, our := tool(t, "etcdutl"), filepath.Join(filepath.Dir(ours(t)), "etcdutl")
	s := start(t, tool(t, "etcd"), filepath.Join(t.TempDir(), "m"), freePorts(t))
	snapshot := filepath.Join(t.TempDir(), "snapshot.db")
	run(t, tool(t, "etcdctl"), "--endpoints="+s.url, "snapshot", "save", snapshot)
	added := regexp.MustCompile(`"?added-peer-id"?: "([0-9a-f]+)", "added-peer-peer-urls": (\[[^]]*\])`)
	for _, list := range [][2]string{
		{"m=HTTP://[FD00:0::1]:1", "http://[fd00::1]:1"},
		{"m=http://[::ffff:10.0.0.1]:1", "http://10.0.0.1:01"},
		{"n=http://10.0.0.2:1,m=http://10.0.0.1:2,m=http://10.0.0.1:1", "http://10.0.0.1:1,http://10.0.0.1:2"},
		{"m=http://u@10.0.0.1:1?x", "http://10.0.0.1:1"},
		{"m=http://localhost:1", "http://localhost:1"},
		{"m=unix:///a b", "unix:///a%20b"},
		{"m=http://10.0.0.1:1", "http://10.0.0.2:1"},
		{"m=http://10.0.0.1:1,m=http://10.0.0.1:1", "http://10.0.0.1:1"},
		{"m=http://10.0.0.1:1,n=HTTP://10.0.0.1:1", "http://10.0.0.1:1"},
		{"n=http://10.0.0.1:1", "http://10.0.0.1:1"},
		{"m", "http://10.0.0.1:1"},
		{"m=http://10.0.0.1:1", "http://10.0.0.1:1,"},
		{"m=http://10.0.0.1:1", "10.0.0.1:1"},
		{"m=http://10.0.0.1", "http://10.0.0.1:1"},
		{"m=http://localhost:1", "http://127.0.0.1:1"},
		{"m=http://10.0.0.1:70000", "http://10.0.0.1:070000"},
		{"", "http://10.0.0.1:1"},
	} {
		var got [2]string
		for i, program := range []string{reference, our} {
			if i == 0 && strings.Contains(list[0], "70000") {
				// It would ask half a minute long, though such a port is never found.
				got[0] = "--initial-cluster has m=http://10.0.0.1:70000 but missing from --initial-advertise-peer-urls=http://10.0.0.1:070000 " +
					"(failed to resolve \"http://10.0.0.1:070000\" (address 070000: invalid port))"
				continue
			}
			out, err := exec.Command(program, "snapshot", "restore", snapshot, "--name=m", "--data-dir="+filepath.Join(t.TempDir(), "d"),
				"--initial-cluster="+list[0], "--initial-advertise-peer-urls="+list[1]).CombinedOutput()
			if err == nil {
				got[i] = strings.ReplaceAll(fmt.Sprint(added.FindAllStringSubmatch(string(out), -1)), ", ", ",")
				continue
			}
			_, got[i], _ = strings.Cut(string(out), "Error: ")
			got[i] = strings.TrimSpace(got[i])
		}
		if got[0] != got[1] || got[0] == "" {
			t.Errorf("%q\netcd: %s\nours: %s", list, got[0], got[1])
		}
	}
}
