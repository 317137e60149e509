package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// oursCtl is our etcdctl: HOLDFAST_ETCDCTL, or the one beside our server.
func oursCtl(t testing.TB) string {
	t.Helper()
	path := os.Getenv("HOLDFAST_ETCDCTL")
	if path == "" {
		path = filepath.Join(filepath.Dir(ours(t)), "etcdctl")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("HOLDFAST_REQUIRE") != "" {
			t.Fatalf("%s is missing; build it with `cargo build -p etcdctl`", path)
		}
		t.Skipf("skipped: %s is missing; build it with `cargo build -p etcdctl`", path)
	}
	return path
}

// outcome is what a command line leaves behind.
type outcome struct {
	stdout string
	errors string // the lines of standard error that begin with "Error:" or are no log
	code   int
}

// changing hides what differs from run to run.
var changing = []struct{ pattern, with string }{
	{`took = [0-9.]+(µs|ms|s)`, "took = T"},
	{`took [0-9.]+(µs|ms|s)`, "took T"},
	{`"took":"[^"]*"`, `"took":"T"`},
	{`"Took" : [0-9.]+(µs|ms|s)`, `"Took" : T`},
	{`│ +[0-9.]+(µs|ms|s) │`, "│ T │"},
	{`─+`, "─"},
	{` +TOOK +`, " TOOK "},
	{`lease [0-9a-f]{16} granted with (TTL\(\d+s\)\n)`, "lease L granted with $1"},
	{`"ID":[0-9]+,("TTL":(77|2),)`, `"ID":L,$1`},
	{`"ID" : [0-9a-f]+\n("TTL" : (77|2)\n)`, "\"ID\" : L\n$1"},
	{`remaining\(\d+s\)`, "remaining(R)"},
	{`"ttl":\d+`, `"ttl":R`},
	{`"TTL" : \d+\n"GrantedTTL"`, "\"TTL\" : R\n\"GrantedTTL\""},
	// protobuf-go prints one space or two, by a hash of its own binary.
	{`(memberID:\d+)  alarm`, "$1 alarm"},
}

func normalise(text string) string {
	for _, c := range changing {
		text = regexp.MustCompile(c.pattern).ReplaceAllString(text, c.with)
	}
	return text
}

// ctl runs an etcdctl and returns what it left.
func ctl(t testing.TB, bin, endpoint, stdin string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"--endpoints=" + endpoint}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return ctlOutcome(t, cmd)
}

// ctlOutcome runs a command line that has its arguments and its input.
func ctlOutcome(t testing.TB, cmd *exec.Cmd) outcome {
	t.Helper()
	cmd.Env = []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	var errors []string
	usage := false
	for _, line := range strings.Split(stderr.String(), "\n") {
		usage = (usage || strings.HasPrefix(line, "Usage:")) && !strings.HasPrefix(line, "Error:")
		if line != "" && !usage && !strings.HasPrefix(line, "{") {
			errors = append(errors, line)
		}
	}
	return outcome{normalise(stdout.String()), normalise(strings.Join(errors, "\n")), cmd.ProcessState.ExitCode()}
}

// step is one command line. What it reads from standard input follows after a bar.
type step string

func (s step) parts() (args []string, stdin string) {
	line, stdin, _ := strings.Cut(string(s), " | ")
	for _, word := range strings.Fields(line) {
		args = append(args, strings.NewReplacer("~", " ", `\0`, "\x00", `\e`, "").Replace(word))
	}
	return args, strings.NewReplacer(`\n`, "\n").Replace(stdin)
}

// everyday is run by one etcdctl on a fresh member, and by the other on another.
var everyday = []step{
	"put a 1", "put a 2 --prev-kv", "put b | from~stdin", "put b", "put", "put a --ignore-value",
	"put a 3 --lease=1234", "put a --ignore-value --prev-kv", "put a 4 --ignore-lease",
	"put x y --lease=zz", "put x y --lease=99", "put a 1 2 --ignore-value", "put c ü\"<&>", "put d -- -v",
	"put -- -k -v", "get -- -k", "get a", "get a z", "get a z --limit=1", "get a z --order=DESCEND",
	"get a z --sort-by=value --order=ascend", "get a z --sort-by=MODIFY", "get a --hex", "get c", "get c --hex",
	"get a z --order=up", "get a z --sort-by=size", "get a z --keys-only", "get a z --count-only",
	"get a z --keys-only --count-only", "get a z --prefix", "get --prefix \\e", "get a --from-key", "get a --from-key --prefix",
	"get a --rev=2", "get a --rev=99", "get a --rev=x", "get a --rev", "get a --consistency=s", "get a --consistency=x",
	"get a z --stream", "get a --print-value-only", "get a --print-value-only=false", "get", "get nothing",
	"get a z --min-mod-rev=3", "get a z --min-mod-rev=3 --max-mod-rev=2", "get a z --max-create-rev=3",
	"get a z --min-create-rev=9 --max-create-rev=3", "get a z --max-mod-rev=3",
	"txn | \\n\\n\\n", `txn | mod("a") > "0"\n\nput t 1\nget a\ndel b --prev-kv\n\nput t 2\n\n`,
	`txn | val("a") = "no"\n\nput t 1\n\nget t --hex\nget a z --prefix\n\n`,
	`txn | ver("a") = "no"\n\n\n\n`, `txn | bad\n\n\n\n`, `txn | mod("a") > "0"\n\nfly t 1\n\n\n`, `txn | mod("a") > "0"\n`,
	`txn | \nput t 1 --bogus\n\n\n`, "txn x", `txn | create("zz") = "0"\n\nput "q r" 'it"s'\nget "q r"\n\n\n`,
	`txn -i | c("a") < "1000"\n\ndel t\n\n\n`, `txn | \nput t 1\nput t 2\n\n\n`,
	"del a --prev-kv", "del b c --range", "del --prefix q --prev-kv", "del", "del a b c", "del a --from-key --prefix",
	"del a b --prefix", "del zz", "del -- -k",
	"lease grant 77", "lease grant x", "lease grant", "lease grant 0", "lease timetolive 1234", "lease timetolive 1234 --keys",
	"lease timetolive 99", "lease timetolive xyz", "lease timetolive", "lease keep-alive --once 1234", "lease keep-alive --once 99",
	"lease keep-alive 99", "lease revoke 99", "lease revoke", "lease revoke 1234", "lease revoke x",
	"compaction 3", "compaction 3", "compaction 999", "compaction x", "compaction", "compaction --physical 5",
	"get a --rev=2", "alarm list", "alarm disarm", "defrag", "member list", "member list --consistency=s", "member list --hex",
	"endpoint health", "endpoint hashkv", "endpoint hashkv --rev=99", "endpoint health --cluster", "version",
	"member add", "member add n", "member add n http://a:1", "member remove", "member remove xyz", "member update 1",
	"member promote", "move-leader", "downgrade validate", "mem l", "del", "bogus", "get a --bogus", "get a -z", "get -w", "get a --prefix=maybe",
}

// TestEtcdctlLooksAlike runs the same command lines with both programs, each on a fresh member of
// ours with the same addresses, in every output format, and compares all that they print.
func TestEtcdctlLooksAlike(t *testing.T) {
	reference, mine := tool(t, "etcdctl"), oursCtl(t)
	for _, format := range []string{"simple", "fields", "json", "protobuf", "table", "json --hex", "fields --hex", "nonsense"} {
		t.Run(format, func(t *testing.T) {
			p := freePorts(t)
			endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
			outcomes := map[string][]outcome{}
			for _, bin := range []string{reference, mine} {
				s := start(t, ours(t), filepath.Join(t.TempDir(), "d"), p)
				lease := &pb.LeaseGrantRequest{ID: 0x1234, TTL: 1000}
				if _, err := pb.NewLeaseClient(s.client.ActiveConnection()).LeaseGrant(ctx(t), lease); err != nil {
					t.Fatal(err)
				}
				for _, step := range everyday {
					args, stdin := step.parts()
					args = append(strings.Fields("-w "+format), args...)
					outcomes[bin] = append(outcomes[bin], ctl(t, bin, endpoint, stdin, args...))
				}
				s.client.Close()
				s.stop()
			}
			for i, step := range everyday {
				if format == "protobuf" && step == "lease revoke 1234" {
					continue // the reference revokes, and then cannot print the answer
				}
				if format == "nonsense" && step == "lease timetolive xyz" {
					continue // both are wrong, and each names another one
				}
				if want, got := outcomes[reference][i], outcomes[mine][i]; want != got {
					t.Errorf("%s\n theirs: %d %q\n         %s\n ours:   %d %q\n         %s", step,
						want.code, want.stdout, want.errors, got.code, got.stdout, got.errors)
				}
			}
		})
	}
}

// untilQuiet runs a command until what it has printed contains all of the marks.
func untilQuiet(t *testing.T, bin, endpoint string, stdin string, args []string, env []string, marks ...string) string {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"--endpoints=" + endpoint}, args...)...)
	out := filepath.Join(t.TempDir(), "out")
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = file
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Signal(syscall.SIGKILL); _ = cmd.Wait() }()
	if _, err := in.Write([]byte(stdin)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(out)
		missing := false
		for _, mark := range marks {
			missing = missing || !strings.Contains(string(text), mark)
		}
		if !missing {
			return string(text)
		}
	}
	text, _ := os.ReadFile(out)
	t.Fatalf("%s %v did not print %q but %q", bin, args, marks, text)
	return ""
}

// TestEtcdctlWatchLooksAlike compares watches: every format, from history, with prefixes,
// previous values, commands, the environment's key, and interactive ones.
func TestEtcdctlWatchLooksAlike(t *testing.T) {
	reference, mine := tool(t, "etcdctl"), oursCtl(t)
	p := freePorts(t)
	s := start(t, ours(t), filepath.Join(t.TempDir(), "d"), p)
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	ops := []clientv3.Op{
		clientv3.OpPut("w/a", "1"), clientv3.OpPut("w/a", "2<&"), clientv3.OpDelete("w/a"),
		clientv3.OpPut("w/b", "\xff\n"), clientv3.OpPut("w/z", "END"),
	}
	for _, op := range ops {
		if _, err := s.client.Do(ctx(t), op); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name, args, stdin string
		env               []string
		mark              string
	}{
		{"simple", "watch w/ --prefix --rev=1", "", nil, "END"},
		{"prev", "watch w/ --prefix --rev=1 --prev-kv", "", nil, "END"},
		{"hex", "watch w/ --prefix --rev=1 --hex", "", nil, `\x45\x4e\x44`},
		{"range", "watch w/a w/zz --rev=3", "", nil, "END"},
		{"fields", "watch w/ --prefix --rev=1 --prev-kv -w fields", "", nil, "END"},
		{"json", "watch w/ --prefix --rev=1 --prev-kv -w json", "", nil, "RU5E"},
		{"protobuf", "watch w/ --prefix --rev=1 -w protobuf", "", nil, "END"},
		{"environment", "watch --rev=1", "", []string{"ETCDCTL_WATCH_KEY=w/", "ETCDCTL_WATCH_RANGE_END=w0"}, "END"},
		{"command", "watch w/ --prefix --rev=1 -- env sh -c echo~$ETCD_WATCH_REVISION~$ETCD_WATCH_EVENT_TYPE~$ETCD_WATCH_KEY~$ETCD_WATCH_VALUE", "", nil, `"END"`},
		{"interactive", "watch -i", "watch --rev=1 w/ --prefix\n", nil, "END"},
		{"interactive command", "watch -i", "bogus\nwatch\nwatch w/z --rev=1 -- echo one\n", nil, "one"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args, _ := step(c.args).parts()
			want := untilQuiet(t, reference, endpoint, c.stdin, args, c.env, c.mark)
			got := untilQuiet(t, mine, endpoint, c.stdin, args, c.env, c.mark)
			if want != got {
				t.Errorf("theirs: %q\nours:   %q", want, got)
			}
		})
	}
	for _, line := range []string{"watch", "watch a b --prefix", "watch a --", "watch a --rev=x"} {
		args, stdin := step(line).parts()
		want, got := ctl(t, reference, endpoint, stdin, args...), ctl(t, mine, endpoint, stdin, args...)
		if want != got {
			t.Errorf("%s\n theirs: %+v\n ours:   %+v", line, want, got)
		}
	}
	if _, err := s.client.Compact(ctx(t), 5); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"simple", "json", "fields", "protobuf"} {
		args := []string{"watch", "w/", "--prefix", "--rev=1", "-w", format}
		want, got := ctl(t, reference, endpoint, "", args...), ctl(t, mine, endpoint, "", args...)
		if want != got {
			t.Errorf("compacted, %s\n theirs: %+v\n ours:   %+v", format, want, got)
		}
	}
}

// TestEtcdctlStatusLooksAlike compares what changes by itself, asked at once by both.
func TestEtcdctlStatusLooksAlike(t *testing.T) {
	reference, mine := tool(t, "etcdctl"), oursCtl(t)
	p := freePorts(t)
	dir := t.TempDir()
	s := start(t, ours(t), filepath.Join(dir, "d"), p, "--quota-backend-bytes=100000")
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	for i := 0; i < 200; i++ {
		if _, err := s.client.Put(ctx(t), "fill", strings.Repeat("x", 2000)); err != nil {
			break // the quota is used up, as is meant
		}
	}
	raft := regexp.MustCompile(`(("raft(Applied)?Index":|"Raft(Applied)?Index" : )\d+)|(, \d+, \d+, memberID)|(│ +\d+ │ +\d+ │ +memberID)`)
	for _, format := range []string{"simple", "fields", "json", "protobuf", "table"} {
		for _, command := range []string{"endpoint status", "endpoint health", "alarm list", "endpoint hashkv"} {
			args := append(strings.Fields(command), "-w", format)
			var want, got outcome
			// The database grows by itself, at times between the two.
			for range 5 {
				want, got = ctl(t, reference, endpoint, "", args...), ctl(t, mine, endpoint, "", args...)
				want.stdout, got.stdout = raft.ReplaceAllString(want.stdout, "I"), raft.ReplaceAllString(got.stdout, "I")
				if want == got {
					break
				}
			}
			if want != got {
				t.Errorf("%s\n theirs: %+v\n ours:   %+v", args, want, got)
			}
		}
	}
	want := ctl(t, reference, endpoint, "", "snapshot", "save", filepath.Join(dir, "s"))
	got := ctl(t, mine, endpoint, "", "snapshot", "save", filepath.Join(dir, "s"))
	if want != got {
		t.Errorf("snapshot save\n theirs: %+v\n ours:   %+v", want, got)
	}
	for _, args := range [][]string{
		{"snapshot", "save"}, {"snapshot", "save", "/nowhere/x"},
		{"--command-timeout=300ms", "--endpoints=127.0.0.1:1", "get", "a"},
		{"--command-timeout=300ms", "--endpoints=127.0.0.1:1", "put", "a", "b"},
		{"--command-timeout=300ms", "--endpoints=127.0.0.1:1", "endpoint", "status"},
		{"--command-timeout=300ms", "--endpoints=127.0.0.1:1", "endpoint", "health"},
		{"--command-timeout=300ms", "--endpoints=127.0.0.1:1", "endpoint", "hashkv", "-w", "json"},
		{"--endpoints=" + endpoint, "--endpoints=127.0.0.1:1", "snapshot", "save", filepath.Join(dir, "s")},
	} {
		want, got := ctl(t, reference, "127.0.0.1:1", "", args...), ctl(t, mine, "127.0.0.1:1", "", args...)
		if want != got {
			t.Errorf("%v\n theirs: %+v\n ours:   %+v", args, want, got)
		}
	}
}
