package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// probeLimit is how long one call of a probe may take.
const probeLimit = 600 * time.Millisecond

func probing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), probeLimit)
}

// answered is what became of a call: ok, or the words of its error.
func answered(err error) string {
	if err == nil {
		return "ok"
	}
	said := status.Convert(err)
	// Which side gives up first is a matter of moments.
	if said.Code() == codes.DeadlineExceeded || said.Code() == codes.Canceled ||
		said.Message() == "etcdserver: request timed out" {
		return "no answer in time"
	}
	return said.Message()
}

// settingLines are about what settings do, however they are spelled.
func settingLines(t testing.TB) []startLine {
	var lines []startLine
	add := func(setting, value string, then func(*scene), ways ...way) {
		for _, w := range ways {
			line := given(w, setting, value)
			line.then = then
			lines = append(lines, line)
		}
	}
	for _, spelling := range []string{"True", "1", "T"} {
		add("strict-reconfig-check", spelling, strictness, byFlag, byVariable)
	}
	for _, spelling := range []string{"F", "0", "False"} {
		add("strict-reconfig-check", spelling, strictness, byFlag, byVariable)
	}
	for _, spelling := range []string{"yes", "True", "ON", "no", "Off", "~"} {
		add("strict-reconfig-check", spelling, strictness, byFile)
	}
	add("pre-vote", "F", nil, byFlag, byVariable)
	add("pre-vote", "off", nil, byFile)
	add("initial-election-tick-advance", "0", nil, byFlag, byVariable)
	add("force-new-cluster", "T", nil, byFlag)
	for _, value := range []string{"3", "0x3", "03", "0", "0b11"} {
		add("max-txn-ops", value, txnOps, byFlag, byVariable)
	}
	add("max-txn-ops", "1_0", txnOps, byFile)
	add("max-txn-ops", "1e1", txnOps, byFile)
	for _, value := range []string{"1000", "0", "0x400"} {
		add("max-request-bytes", value, requestBytes, byFlag)
		lines[len(lines)-1].waits = value == "0"
	}
	add("max-request-bytes", "1e3", requestBytes, byFile)
	for _, value := range []string{"65536", "-1", "0", "0x10000"} {
		add("quota-backend-bytes", value, quota, byFlag)
	}
	add("quota-backend-bytes", "65536", quota, byVariable, byFile)
	for _, value := range []string{"0", "2", "-1"} {
		add("max-learners", value, learners, byFlag)
	}
	for _, value := range []string{"7", "0", "0x10"} {
		add("max-concurrent-streams", value, streams, byFlag)
	}
	add("max-concurrent-streams", "7", streams, byVariable, byFile)
	for _, value := range []string{"basic", "extensive"} {
		add("metrics", value, extent, byFlag, byVariable, byFile)
	}
	for _, value := range []string{"2000", "0x7d0"} {
		line := given(byFlag, "election-timeout", value)
		line.args, line.then = append(line.args, "--heartbeat-interval=100"), leaseMinimum
		lines = append(lines, line)
	}
	add("watch-progress-notify-interval", "150ms", progress, byFlag, byVariable)
	add("watch-progress-notify-interval", "150000000", progress, byFile)
	add("snapshot-count", "10", snapshots, byFlag, byVariable, byFile)
	add("snapshot-count", "0xa", snapshots, byFlag)
	add("snapshot-count", "0", nil, byFlag)
	add("feature-gates", "LeaseCheckpoint=T,LeaseCheckpointPersist=1", nil, byFlag)
	add("initial-cluster-token", "", nil, byFlag)
	add("max-wals", "0", nil, byFlag)
	add("max-snapshots", "0", nil, byFlag)
	lines = append(lines,
		startLine{name: "pages", then: pages},
		startLine{name: "pages with all metrics", args: []string{"--metrics=extensive"}, then: pages})
	return append(lines, secureLines(t)...)
}

// strictness adds two members that are not there: the first one may be, the second one costs the
// majority.
func strictness(s *scene) {
	cluster := pb.NewClusterClient(s.connect())
	for n := range 2 {
		limited, cancel := probing()
		_, err := cluster.MemberAdd(limited, &pb.MemberAddRequest{PeerURLs: []string{fmt.Sprintf("http://127.0.0.9:%d", n+1)}})
		cancel()
		s.fact(fmt.Sprint("member ", n), "%s", answered(err))
	}
}

// txnOps finds the longest transaction that is taken.
func txnOps(s *scene) {
	kv := pb.NewKVClient(s.connect())
	for n := range 20 {
		txn := &pb.TxnRequest{}
		for range n {
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}})
		}
		limited, cancel := probing()
		_, err := kv.Txn(limited, txn)
		cancel()
		if err != nil {
			s.fact("longest transaction", "%d: %s", n-1, answered(err))
			return
		}
	}
	s.fact("longest transaction", "20 or more")
}

func requestBytes(s *scene) {
	kv := pb.NewKVClient(s.connect())
	for _, size := range []int{10, 900, 1010, 1500, 600 << 10} {
		limited, cancel := probing()
		_, err := kv.Put(limited, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, size)})
		cancel()
		s.fact(fmt.Sprint("request of ", size), "%s", answered(err))
	}
}

func quota(s *scene) {
	conn := s.connect()
	limited, cancel := probing()
	defer cancel()
	status, err := pb.NewMaintenanceClient(conn).Status(limited, &pb.StatusRequest{})
	s.fact("quota", "%d %s", status.GetDbSizeQuota(), answered(err))
	_, err = pb.NewKVClient(conn).Put(limited, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 70000)})
	s.fact("a great put", "%s", answered(err))
}

func learners(s *scene) {
	cluster := pb.NewClusterClient(s.connect())
	for n := range 3 {
		limited, cancel := probing()
		_, err := cluster.MemberAdd(limited, &pb.MemberAddRequest{PeerURLs: []string{fmt.Sprintf("http://127.0.0.9:%d", n+1)}, IsLearner: true})
		cancel()
		s.fact(fmt.Sprint("learner ", n), "%s", answered(err))
	}
}

// streams reads how many streams a connection may have, which a server says first.
func streams(s *scene) {
	limited, cancel := probing()
	defer cancel()
	conn, err := s.dial(limited, s.address())
	s.need(err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = conn.Write([]byte(http2.ClientPreface))
	s.need(err)
	framer := http2.NewFramer(conn, conn)
	s.need(framer.WriteSettings())
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			s.fact("streams", "%v", err)
			return
		}
		if settings, isSettings := frame.(*http2.SettingsFrame); isSettings && !settings.IsAck() {
			value, told := settings.Value(http2.SettingMaxConcurrentStreams)
			s.fact("streams", "%d %v", value, told)
			return
		}
	}
}

// extent tells whether calls are measured.
func extent(s *scene) {
	page, err := s.get("/metrics")
	s.need(err)
	s.fact("durations of calls", "%v", strings.Contains(page, "grpc_server_handling_seconds_bucket"))
}

func leaseMinimum(s *scene) {
	limited, cancel := probing()
	defer cancel()
	lease, err := pb.NewLeaseClient(s.connect()).LeaseGrant(limited, &pb.LeaseGrantRequest{TTL: 1, ID: 5})
	s.fact("shortest lease", "%d %s", lease.GetTTL(), answered(err))
}

func progress(s *scene) {
	limited, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	watch, err := pb.NewWatchClient(s.connect()).Watch(limited)
	s.need(err)
	s.need(watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k"), ProgressNotify: true}}}))
	heard := 0
	for range 2 {
		if _, err = watch.Recv(); err == nil {
			heard++
		}
	}
	s.fact("progress", "%d answers %s", heard, answered(err))
}

// snapshots puts more than a snapshot's worth and waits for the file.
func snapshots(s *scene) {
	kv := pb.NewKVClient(s.connect())
	for n := range 30 {
		limited, cancel := probing()
		_, err := kv.Put(limited, &pb.PutRequest{Key: fmt.Append(nil, n), Value: []byte("v")})
		cancel()
		s.need(err)
	}
	s.fact("a snapshot", "%v", s.comes(func() bool { return strings.Contains(s.fileList(), ".snap 6") }))
	// How many there are and at which entries is a matter of moments.
	s.without = files
}

// comes waits a moment until something is so.
func (s *scene) comes(is func() bool) bool {
	for range 200 {
		if is() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// wordsOfALife notes which of the lines that scripts wait for the log has.
func wordsOfALife(s *scene) {
	conn := s.connect()
	kv, maintenance := pb.NewKVClient(conn), pb.NewMaintenanceClient(conn)
	for n := range 30 {
		limited, cancel := probing()
		_, err := kv.Put(limited, &pb.PutRequest{Key: []byte("k"), Value: fmt.Append(nil, n)})
		cancel()
		s.need(err)
	}
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := kv.Compact(limited, &pb.CompactionRequest{Revision: 20, Physical: true})
	s.need(err)
	_, err = maintenance.Defragment(limited, &pb.DefragmentRequest{})
	s.need(err)
	stream, err := maintenance.Snapshot(limited, &pb.SnapshotRequest{})
	s.need(err)
	for err == nil {
		_, err = stream.Recv()
	}
	if err != io.EOF {
		s.need(err)
	}
	s.without = files
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	s.facts[ends] = s.end()
	for _, words := range []string{
		"starting an etcd server", "triggering snapshot", "saved snapshot to disk", "compacted Raft logs", "finished scheduled compaction",
		"finished defragmenting directory", "sending database snapshot to client", "sent database snapshot to client",
		"received signal; shutting down", "closing etcd server", "closed etcd server", "skipped leadership transfer for single voting member cluster",
		"stopped serving peer traffic", "published local member to cluster through raft", "ready to serve client requests", "serving client traffic insecurely",
		"serving peer traffic", "set initial cluster version", "cluster version is updated", "became leader at term 2", "added member", "now serving peer/client/metrics",
		"opened backend db", "starting local member", "notifying init daemon", "successfully notified init daemon", "enabled backend quota", "starting etcd server",
		"Initialize and start etcd server",
	} {
		s.fact("says "+words, "%v", strings.Contains(s.output(), words))
	}
}

var pageNumbers = regexp.MustCompile(`\d+\.\d+e?[+-]?\d*|0x[0-9a-f]+|\d{2,}`)

// pages notes what pages there are, and what the short ones say.
func pages(s *scene) {
	s.comes(func() bool {
		page, err := s.get("/version")
		return err == nil && !strings.Contains(page, "not_decided")
	})
	for _, path := range []string{"/version", "/health", "/livez", "/readyz", "/", "/nonsense", "/metrics", "/debug/vars", "/debug/pprof/", "/debug/requests", "/config/local/log", "/v2/keys", "/v3/", "/members"} {
		page, err := s.get(path)
		code, text, _ := strings.Cut(page, " ")
		if len(text) > 200 {
			text = "..."
		}
		if err != nil {
			code, text = "fails", ""
		}
		s.fact("page "+path, "%s %s", code, pageNumbers.ReplaceAllString(text, "N"))
	}
}

// secureLines are about TLS and who is let in.
func secureLines(t testing.TB) []startLine {
	a := newAuthority(t, "startlines")
	server := a.issue("server", leaf{hosts: []string{"localhost", "startlines"}})
	client := a.issue("client", leaf{})
	shows := func(shown ...keyPair) func(*scene) *clientSide {
		return func(*scene) *clientSide {
			config := a.config(shown...)
			config.InsecureSkipVerify = true
			return config
		}
	}
	doors := func(s *scene) {
		for name, config := range map[string]*tls.Config{"without": shows()(s), "with": shows(client)(s)} {
			s.fact("a client "+name+" a certificate", "%s", s.knocks(config))
		}
	}
	var lines []startLine
	urls := []string{"--listen-client-urls=https://{ip}:2379", "--advertise-client-urls=https://{ip}:2379"}
	files := []string{"--cert-file=" + server.cert, "--key-file=" + server.key, "--trusted-ca-file=" + a.ca}
	for _, spelling := range []string{"1", "T", "True", "true", "0", "f", "False"} {
		lines = append(lines,
			startLine{name: "client-cert-auth=" + spelling + " by flag", args: append(append([]string{"--client-cert-auth=" + spelling}, urls...), files...), secure: shows(client), then: doors},
			startLine{name: "client-cert-auth=" + spelling + " by variable", env: []string{"ETCD_CLIENT_CERT_AUTH=" + spelling}, args: append(append([]string{}, urls...), files...), secure: shows(client), then: doors})
	}
	for _, spelling := range []string{"true", "True", "yes", "on", "false", "no", "'true'", "1", "~"} {
		lines = append(lines, startLine{name: "client-cert-auth: " + spelling + " in a file", secure: shows(client), then: doors, config: fmt.Sprintf(
			"listen-client-urls: https://{ip}:2379\nadvertise-client-urls: https://{ip}:2379\nclient-transport-security:\n  cert-file: %s\n  key-file: %s\n  trusted-ca-file: %s\n  client-cert-auth: %s\n",
			server.cert, server.key, a.ca, spelling)})
	}
	none := func(*scene) *clientSide { return &tls.Config{InsecureSkipVerify: true} }
	withURLs := func(more ...string) []string { return append(append([]string{}, urls...), more...) }
	return append(lines,
		startLine{name: "auto-tls bare", args: withURLs("--auto-tls"), secure: none},
		startLine{name: "auto-tls=T", args: withURLs("--auto-tls=T"), secure: none},
		startLine{name: "auto-tls by variable", args: withURLs(), env: []string{"ETCD_AUTO_TLS=1"}, secure: none},
		startLine{name: "auto-tls in a file", config: "listen-client-urls: https://{ip}:2379\nadvertise-client-urls: https://{ip}:2379\nclient-transport-security:\n  auto-tls: yes\n", secure: none},
		startLine{name: "auto-tls=F", args: withURLs("--auto-tls=F"), secure: none},
		startLine{name: "auto-tls beside a certificate", args: withURLs("--auto-tls", files[0], files[1]), secure: none},
		startLine{name: "a key alone", args: withURLs(files[1]), secure: none},
		startLine{name: "a certificate alone", args: withURLs(files[0]), secure: none},
		startLine{name: "an authority alone", args: withURLs(files[2]), secure: none},
		startLine{name: "a key that does not fit", args: withURLs(files[0], "--key-file="+client.key), secure: none},
		startLine{name: "client-cert-auth without an authority", args: withURLs(files[0], files[1], "--client-cert-auth=1"), secure: none},
		startLine{name: "peer-auto-tls=1", args: []string{"--peer-auto-tls=1", "--listen-peer-urls=https://{ip}:2380", "--initial-advertise-peer-urls=https://{ip}:2380", "--initial-cluster=m=https://{ip}:2380"}},
		startLine{name: "peer-client-cert-auth=1 without an authority", args: []string{"--peer-client-cert-auth=1", "--listen-peer-urls=https://{ip}:2380", "--initial-advertise-peer-urls=https://{ip}:2380", "--initial-cluster=m=https://{ip}:2380", "--peer-cert-file=" + server.cert, "--peer-key-file=" + server.key}},
		startLine{name: "peer-client-cert-auth=True", args: []string{"--peer-client-cert-auth=True", "--listen-peer-urls=https://{ip}:2380", "--initial-advertise-peer-urls=https://{ip}:2380", "--initial-cluster=m=https://{ip}:2380", "--peer-cert-file=" + server.cert, "--peer-key-file=" + server.key, "--peer-trusted-ca-file=" + a.ca}, then: func(s *scene) {
			s.fact("a peer without a certificate", "%s", knock(s.ip+":2380", shows()(s)))
			s.fact("a peer with a certificate", "%s", knock(s.ip+":2380", shows(server)(s)))
		}},
		startLine{name: "made certificates valid for no time", args: withURLs("--auto-tls", "--self-signed-cert-validity=0"), secure: none},
	)
}

// knocks tells whether somebody is let in at the client port.
func (s *scene) knocks(config *tls.Config) string { return knock(s.address(), config) }

func knock(address string, config *tls.Config) string {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", address, config)
	if err != nil {
		return "kept out"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = conn.Write([]byte("GET /version HTTP/1.0\r\n\r\n"))
	said, _ := io.ReadAll(conn)
	if err != nil || !bytes.Contains(said, []byte("etcdserver")) {
		return "kept out"
	}
	return "let in"
}
