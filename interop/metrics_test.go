package interop

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// family is what a dashboard builds on: everything but the values.
type family struct {
	kind, help string
	labels     []string
	bounds     []string
	values     map[string]string
}

// Families that one server alone may show, with the reason.
var metricsDifferences = map[string]string{
	"etcd_debugging_mvcc_pending_events_total": "ours hands events over at once, so it stays at zero",
}

// Families whose values are the same on both after the same requests.
var sameValues = []string{
	"etcd_mvcc_put_total", "etcd_mvcc_delete_total", "etcd_mvcc_txn_total",
	"etcd_debugging_mvcc_keys_total", "etcd_debugging_mvcc_current_revision",
	"etcd_debugging_mvcc_compact_revision", "etcd_debugging_mvcc_total_put_size_in_bytes",
	"etcd_debugging_mvcc_db_compaction_keys_total", "etcd_debugging_mvcc_watcher_total",
	"etcd_debugging_mvcc_watch_stream_total", "etcd_debugging_mvcc_events_total",
	"etcd_debugging_lease_granted_total", "etcd_debugging_lease_revoked_total",
	"etcd_debugging_lease_renewed_total", "etcd_debugging_lease_ttl_total",
	"etcd_server_client_requests_total", "etcd_server_quota_backend_bytes",
	"etcd_server_feature_enabled", "etcd_server_version", "etcd_cluster_version",
	"etcd_server_has_leader", "etcd_server_is_leader", "etcd_server_is_learner",
	"etcd_network_client_grpc_received_bytes_total",
	"grpc_server_started_total", "grpc_server_handled_total", "grpc_server_msg_received_total",
	"grpc_server_msg_sent_total", "os_fd_limit", "process_max_fds",
}

var labelPattern = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)

func compared(name string) bool {
	for _, prefix := range []string{"etcd_", "grpc_server_", "os_", "process_", "promhttp_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func scrape(t testing.TB, s *server) map[string]*family {
	t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4; charset=utf-8") {
		t.Fatalf("/metrics is %s", kind)
	}
	return parseMetrics(t, resp.Body)
}

func parseMetrics(t testing.TB, body io.Reader) map[string]*family {
	t.Helper()
	families := map[string]*family{}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	var now *family
	var name string
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			var help string
			name, help, _ = strings.Cut(rest, " ")
			if families[name] != nil {
				t.Fatalf("%s is there twice", name)
			}
			now = &family{help: help, values: map[string]string{}}
			families[name] = now
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			now.kind = strings.TrimPrefix(rest, name+" ")
		} else {
			now.sample(t, name, line)
		}
	}
	return families
}

func (f *family) sample(t testing.TB, name, line string) {
	t.Helper()
	if !strings.HasPrefix(line, name) {
		t.Fatalf("a sample of another family in %s: %s", name, line)
	}
	at := strings.LastIndexByte(line, ' ')
	series, value := line[:at], line[at+1:]
	f.values[series] = value
	for _, label := range labelPattern.FindAllStringSubmatch(series, -1) {
		if label[1] == "le" {
			if !slices.Contains(f.bounds, label[2]) {
				f.bounds = append(f.bounds, label[2])
			}
		} else if !slices.Contains(f.labels, label[1]) {
			f.labels = append(f.labels, label[1])
		}
	}
}

// Everything a scraper sees but the values, and those values that follow from the requests alone.
func TestMetricsAreThoseOfEtcd(t *testing.T) {
	p := newPair(t)
	compareMetrics(t, "fresh", p)
	for _, s := range p.both {
		metricsLoad(t, s)
	}
	etcd, ours := compareMetrics(t, "after requests", p)
	for _, name := range sameValues {
		a, b := etcd[name], ours[name]
		if a == nil || b == nil {
			t.Errorf("%s is missing: etcd %v, ours %v", name, a != nil, b != nil)
			continue
		}
		for series := range union(a.values, b.values) {
			if strings.Contains(series, "_sum") || closedEitherWay(name, series) {
				continue
			}
			if a.values[series] != b.values[series] {
				t.Errorf("%s: etcd %q, ours %q", series, a.values[series], b.values[series])
			}
		}
	}
}

func TestExtensiveMetricsTimeCalls(t *testing.T) {
	p := newPair(t, "--metrics=extensive")
	for _, s := range p.both {
		metricsLoad(t, s)
	}
	etcd, ours := compareMetrics(t, "extensive", p)
	if etcd["grpc_server_handling_seconds"] == nil || ours["grpc_server_handling_seconds"] == nil {
		t.Fatal("no durations of calls")
	}
}

// closedEitherWay: the client ends its side of a keep-alive stream and resets it at once, so it is
// chance which of the two a server sees first.
func closedEitherWay(name, series string) bool {
	return name == "grpc_server_handled_total" && strings.Contains(series, `"LeaseKeepAlive"`)
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func compareMetrics(t *testing.T, when string, p *pair) (etcd, ours map[string]*family) {
	t.Helper()
	etcd, ours = scrape(t, p.both[0]), scrape(t, p.both[1])
	for name, want := range etcd {
		if _, allowed := metricsDifferences[name]; !compared(name) || allowed {
			continue
		}
		got := ours[name]
		if got == nil {
			t.Errorf("%s: %s is missing", when, name)
			continue
		}
		if got.kind != want.kind || got.help != want.help {
			t.Errorf("%s: %s\netcd: %s %s\nours: %s %s", when, name, want.kind, want.help, got.kind, got.help)
		}
		if !slices.Equal(got.labels, want.labels) || !slices.Equal(got.bounds, want.bounds) {
			t.Errorf("%s: %s\netcd: %v %v\nours: %v %v", when, name, want.labels, want.bounds, got.labels, got.bounds)
		}
	}
	for name := range ours {
		if _, allowed := metricsDifferences[name]; !allowed && etcd[name] == nil {
			t.Errorf("%s: %s is not etcd's", when, name)
		}
	}
	return etcd, ours
}

// metricsLoad asks for something of everything that is counted.
func metricsLoad(t testing.TB, s *server) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := s.client
	// Ids of the same length, so that requests have the same length.
	leases := pb.NewLeaseClient(c.ActiveConnection())
	id := clientv3.LeaseID(0x1234)
	_, err := leases.LeaseGrant(ctx(t), &pb.LeaseGrantRequest{TTL: 100, ID: int64(id)})
	must(err)
	for _, key := range []string{"a", "b", "c", "a", "b"} {
		_, err = c.Put(ctx(t), key, "value", clientv3.WithLease(id))
		must(err)
	}
	_, err = c.KeepAliveOnce(ctx(t), id)
	must(err)
	watched, cancel := context.WithCancel(ctx(t))
	defer cancel()
	events := c.Watch(watched, "a", clientv3.WithCreatedNotify())
	<-events
	_, err = c.Txn(ctx(t)).If(clientv3.Compare(clientv3.Version("a"), ">", 0)).
		Then(clientv3.OpPut("a", "again"), clientv3.OpPut("d", "new"), clientv3.OpDelete("c")).Commit()
	must(err)
	<-events
	// One that catches up, and leaves something out; all that it gets is there before anything follows. It has
	// a stream of its own, so that none of them is asked to cancel a watcher when they end.
	past := c.Watch(clientv3.WithRequireLeader(watched), "a", clientv3.WithRange("e"), clientv3.WithRev(2), clientv3.WithFilterDelete())
	for got := 0; got < 7; {
		got += len((<-past).Events)
	}
	_, err = c.Get(ctx(t), "", clientv3.WithPrefix())
	must(err)
	_, err = c.Txn(ctx(t)).Then(clientv3.OpGet("a"), clientv3.OpGet("b")).Commit()
	must(err)
	_, err = c.Delete(ctx(t), "nothing")
	must(err)
	gone, err := leases.LeaseGrant(ctx(t), &pb.LeaseGrantRequest{TTL: 3_000_000, ID: 0x5678})
	must(err)
	_, err = c.Put(ctx(t), "leased", "x", clientv3.WithLease(clientv3.LeaseID(gone.ID)))
	must(err)
	_, err = c.Revoke(ctx(t), clientv3.LeaseID(gone.ID))
	must(err)
	if _, err = c.Get(ctx(t), "a", clientv3.WithRev(1000)); err == nil {
		t.Fatal("a read of the future")
	}
	if _, err = c.Put(ctx(t), "", "x"); err == nil {
		t.Fatal("a put of an empty key")
	}
	_, err = c.Compact(ctx(t), 5, clientv3.WithCompactPhysical())
	must(err)
	_, err = c.HashKV(ctx(t), s.url, 0)
	must(err)
	_, err = c.Defragment(ctx(t), s.url)
	must(err)
	_, err = pb.NewMaintenanceClient(c.ActiveConnection()).Hash(ctx(t), &pb.HashRequest{})
	must(err)
	snapshot, err := c.Snapshot(ctx(t))
	must(err)
	_, err = io.Copy(io.Discard, snapshot)
	must(err)
	snapshot.Close()
	for _, page := range []string{"/health", "/livez", "/readyz"} {
		resp, err := http.Get(s.url + page)
		must(err)
		resp.Body.Close()
	}
}
