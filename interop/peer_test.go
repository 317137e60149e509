package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z`)
	portNumber = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	longNumber = regexp.MustCompile(`"id":\d+`)
)

// The peer port answers as etcd's, word for word but for times, ports and ids.
func TestPeerPortAnswersAsEtcd(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	var answers [2][]string
	for i, bin := range []string{reference, bin} {
		p := freePorts(t)
		awaitVersion(t, start(t, bin, t.TempDir()+"/data", p))
		for _, method := range []string{"GET", "POST", "HEAD", "PUT"} {
			for _, path := range []string{"/version", "/members", "/members/", "/raft/probing", "/raft/", "/health", "/metrics", "/", "/nothing"} {
				answers[i] = append(answers[i], peerAnswer(t, method, fmt.Sprintf("http://127.0.0.1:%d%s", p.peer, path)))
			}
		}
		answers[i] = append(answers[i], peerAnswer(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/raft", p.peer)))
	}
	for n, want := range answers[0] {
		if got := answers[1][n]; got != want {
			t.Errorf("etcd: %s\nours: %s", want, got)
		}
	}
}

func peerAnswer(t testing.TB, method, url string) string {
	t.Helper()
	resp, body := fetched(t, method, url, "", http.Header{})
	var headers []string
	for _, name := range []string{"Content-Type", "Allow", "X-Content-Type-Options"} {
		headers = append(headers, resp.Header.Get(name))
	}
	hasCluster := resp.Header.Get("X-Etcd-Cluster-Id") != ""
	text := timestamps.ReplaceAllString(body, "TIME")
	text = longNumber.ReplaceAllString(portNumber.ReplaceAllString(text, "ADDRESS"), "ID")
	return fmt.Sprintf("%s %s: %s %q %v %s", method, resp.Request.URL.Path, resp.Status, headers, hasCluster, text)
}

// Hashes for those who suspect a member's data: the same answers, and etcd's own check believes ours.
func TestPeersHashes(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	var answers [2][]string
	for i, bin := range []string{reference, bin} {
		s := start(t, bin, t.TempDir()+"/data", freePorts(t))
		for n := range 10 {
			if _, err := s.client.Put(ctx(t), fmt.Sprint(n%3), fmt.Sprint(n)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.client.Compact(ctx(t), 5, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		list, err := s.client.MemberList(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		url := list.Members[0].PeerURLs[0] + "/members/hashkv"
		for _, body := range []string{
			"", "{}", "null", "[]", "5", "{", `{"revision":0}`, `{"revision":null}`, `{"revision":7}`, `{"revision":11}`,
			`{"revision":12}`, `{"revision":4}`, `{"revision":5}`, `{"revision":"7"}`, `{"revision":7.5}`, `{"other":1}`, `{"revision":-1}`,
		} {
			answers[i] = append(answers[i], body+" "+hashAnswer(t, "GET", url, "", body))
		}
		answers[i] = append(answers[i], hashAnswer(t, "POST", url, "", "{}"), hashAnswer(t, "GET", url, "1", "{}"))
		answers[i] = append(answers[i], hashAnswer(t, "GET", url, fmt.Sprintf("%x", list.Header.ClusterId), "{}"))
	}
	for n, want := range answers[0] {
		if got := answers[1][n]; got != want {
			t.Errorf("etcd: %s\nours: %s", want, got)
		}
	}
}

func hashAnswer(t testing.TB, method, url, cluster, body string) string {
	t.Helper()
	header := http.Header{}
	if cluster != "" {
		header.Set("X-Etcd-Cluster-ID", cluster)
	}
	resp, said := fetched(t, method, url, body, header)
	hasCluster := resp.Header.Get("X-Etcd-Cluster-Id") != ""
	return fmt.Sprint(method, " ", resp.Status, " ", resp.Header.Get("Content-Type"), " ", hasCluster, " ", said)
}

// etcd compares its members' hashes after a compaction, and before a member serves.
func TestEtcdChecksOurHashes(t *testing.T) {
	bin, reference := ours(t), tool(t, "etcd")
	members := []*member{newMember(t, reference, "m0"), newMember(t, bin, "m1"), newMember(t, bin, "m2")}
	checks := []string{"--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true", "--compact-hash-check-time=1s"}
	launch := func(m *member) {
		args := []string{listOf(members...)}
		if m.bin == reference {
			args = append(args, checks...)
		}
		m.launch(t, args...)
	}
	for _, m := range members {
		launch(m)
	}
	for _, m := range members {
		m.ready(t)
	}
	etcd, id := members[0], memberIDs(t, members[0])["m0"]
	poll(t, 20*time.Second, func() error {
		leader := leaderOf(t, members)
		if leader != etcd {
			_, _ = leader.client.MoveLeader(ctx(t), id)
			return fmt.Errorf("%s leads", leader.name)
		}
		return nil
	})
	for n := range 20 {
		if _, err := etcd.client.Put(ctx(t), fmt.Sprint(n%3), fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := etcd.client.Compact(ctx(t), 9, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		poll(t, 20*time.Second, func() error {
			if !strings.Contains(etcd.log(), want) {
				return fmt.Errorf("etcd does not say %q", want)
			}
			return nil
		})
	}
	says("successfully checked hash on whole cluster")
	etcd.kill()
	launch(etcd)
	etcd.ready(t)
	says("initial corruption checking passed")
	for _, bad := range []string{"failed to get hashKV", "failed hash kv request", "different", "mismatch", "cannot fetch hash"} {
		if strings.Contains(etcd.log(), bad) {
			t.Errorf("etcd says %q:\n%s", bad, etcd.log())
		}
	}
}

// fetched is a page with all of its body.
func fetched(t testing.TB, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(said)
}

// An address in use stops the start with etcd's words, whichever of the two it is.
func TestAddressInUseIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := "http://" + taken.Addr().String()
	want := fmt.Sprintf(`"error":"listen tcp %s: bind: address already in use"`, taken.Addr())
	for _, bin := range []string{tool(t, "etcd"), ours(t)} {
		p := freePorts(t)
		free := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
		for _, urls := range [][2]string{{used, free}, {free, used}} {
			dir := t.TempDir() + "/data"
			out, err := exec.Command(bin, "--name=m", "--data-dir="+dir,
				"--listen-client-urls="+urls[0], "--advertise-client-urls="+urls[0],
				"--listen-peer-urls="+urls[1], "--initial-advertise-peer-urls="+urls[1],
				"--initial-cluster=m="+urls[1]).CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v\n%s", bin, err, out)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s made %s although it could not listen", bin, dir)
			}
		}
	}
}
