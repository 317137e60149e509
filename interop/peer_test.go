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
		start(t, bin, t.TempDir()+"/data", p)
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
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	for _, name := range []string{"Content-Type", "Allow", "X-Content-Type-Options"} {
		headers = append(headers, resp.Header.Get(name))
	}
	hasCluster := resp.Header.Get("X-Etcd-Cluster-Id") != ""
	text := timestamps.ReplaceAllString(string(body), "TIME")
	text = longNumber.ReplaceAllString(portNumber.ReplaceAllString(text, "ADDRESS"), "ID")
	return fmt.Sprintf("%s %s: %s %q %v %s", method, req.URL.Path, resp.Status, headers, hasCluster, text)
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
