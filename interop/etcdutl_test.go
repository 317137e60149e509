package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// oursUtl is our etcdutl: HOLDFAST_ETCDUTL, or the one beside our server.
func oursUtl(t testing.TB) string {
	t.Helper()
	path := os.Getenv("HOLDFAST_ETCDUTL")
	if path == "" {
		path = filepath.Join(filepath.Dir(ours(t)), "etcdutl")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("HOLDFAST_REQUIRE") != "" {
			t.Fatalf("%s is missing; build it with `cargo build -p etcdutl`", path)
		}
		t.Skipf("skipped: %s is missing; build it with `cargo build -p etcdutl`", path)
	}
	return path
}

// logLine begins a line of the log on standard error.
var logLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT`)

// utl runs an etcdutl in a directory and returns what it left; errors without log and usage. The
// reference says some errors twice.
func utl(t testing.TB, bin, dir string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	if strings.Contains(stderr.String(), "panicked") {
		t.Errorf("%s %v: %s", bin, args, stderr.String())
	}
	var errors []string
	said, usage := false, false
	for _, line := range strings.Split(stderr.String(), "\n") {
		isError := strings.HasPrefix(line, "Error:")
		said = (said || isError) && !logLine.MatchString(line)
		usage = (usage || strings.HasPrefix(line, "Usage:")) && !isError
		if said && !usage && line != "" && (len(errors) == 0 || errors[0] != line) {
			errors = append(errors, line)
		}
	}
	return outcome{stdout.String(), strings.Join(errors, "\n"), cmd.ProcessState.ExitCode()}
}

// compareUtl runs both tools, each in a directory of its own that `prepare` has filled.
func compareUtl(t *testing.T, prepare func(dir string), args ...string) (theirs, mine string) {
	t.Helper()
	theirs, mine = t.TempDir(), t.TempDir()
	prepare(theirs)
	prepare(mine)
	want, got := utl(t, tool(t, "etcdutl"), theirs, args...), utl(t, oursUtl(t), mine, args...)
	if want != got {
		t.Errorf("%v\n theirs: %d %q\n         %s\n ours:   %d %q\n         %s", args,
			want.code, want.stdout, want.errors, got.code, got.stdout, got.errors)
	}
	return theirs, mine
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	// What was copied may be read by all, which a data directory must not be.
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// snapshotOf runs a member with some history and leases, and saves a snapshot of it; the data
// directory is left behind, stopped.
func snapshotOf(t testing.TB, bin string, p ports, seed int64) (snapshot, dataDir string) {
	t.Helper()
	dataDir = filepath.Join(t.TempDir(), "d")
	s := start(t, bin, dataDir, p)
	mixedLoad(t, s, seed, 150)
	status, err := s.client.Status(ctx(t), s.url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Compact(ctx(t), status.Header.Revision-3, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Put(ctx(t), "after", "compaction"); err != nil {
		t.Fatal(err)
	}
	awaitVersion(t, s)
	snapshot = dataDir + ".snapshot"
	run(t, tool(t, "etcdctl"), "--endpoints="+s.url, "snapshot", "save", snapshot)
	s.client.Close()
	s.stop()
	return snapshot, dataDir
}

// sources are snapshots of the real etcd and of ours, and a database without a hash.
func sources(t testing.TB) map[string]string {
	t.Helper()
	theirs, dir := snapshotOf(t, tool(t, "etcd"), freePorts(t), 1)
	mine, _ := snapshotOf(t, ours(t), freePorts(t), 2)
	return map[string]string{"theirs": theirs, "ours": mine, "db": filepath.Join(dir, "member/snap/db")}
}

// bumped is the database that a restore with a bumped revision leaves.
func bumped(t testing.TB, snapshot string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r")
	run(t, tool(t, "etcdutl"), "snapshot", "restore", snapshot, "--data-dir", dir, "--bump-revision=1000", "--mark-compacted")
	return filepath.Join(dir, "member/snap/db")
}

// TestEtcdutlLooksAlike runs the same command lines with both tools on the same files.
func TestEtcdutlLooksAlike(t *testing.T) {
	files := sources(t)
	files["bumped"] = bumped(t, files["theirs"])
	lines := []string{
		"snapshot status s", "hashkv s", "hashkv s --rev 100", "hashkv s --rev 3", "hashkv s --rev 9999", "hashkv s --rev -1",
		"snap stat s", "hash s",
	}
	for name, file := range files {
		original, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"simple", "fields", "json", "protobuf", "table", "nonsense"} {
			for _, line := range lines {
				t.Run(name+"/"+format+"/"+line, func(t *testing.T) {
					args := append(strings.Fields(line), "-w", format)
					_, mine := compareUtl(t, func(dir string) { copyFile(t, file, filepath.Join(dir, "s")) }, args...)
					if left, _ := os.ReadFile(filepath.Join(mine, "s")); !bytes.Equal(left, original) {
						t.Error("the file was changed")
					}
				})
			}
		}
	}
}

// TestEtcdutlRefusesAlike compares what is said about wrong command lines.
func TestEtcdutlRefusesAlike(t *testing.T) {
	snapshot, dir := snapshotOf(t, tool(t, "etcd"), freePorts(t), 3)
	lines := []string{
		"bogus", "version", "version x", "vers", "hashkv", "hashkv a b", "hashkv none", "hashkv none -w nonsense",
		"hashkv s --rev x", "hashkv s --rev", "hashkv s --bogus", "hashkv s -z", "snapshot status", "snapshot status a b",
		"snapshot status none", "snapshot status none -w nonsense", "defrag", "defrag --data-dir none", "defrag --timeout x",
		"defrag --data-dir=", "migrate", "migrate --data-dir d", "migrate --target-version 3.6", "migrate --data-dir d --target-version 3",
		"migrate --data-dir d --target-version 3.x", "migrate --data-dir d --target-version 3.4", "migrate --data-dir d --target-version 3.6.0",
		"migrate --data-dir none --target-version 3.6", "migrate --data-dir d --target-version 3.8", "migrate --data-dir d --target-version 4.0",
		"completion", "completion tcsh", "completion bash zsh", "snapshot restore", "snapshot restore a b", "snapshot restore none",
		"snapshot restore s --bump-revision 5", "snapshot restore s --mark-compacted", "snapshot restore s --bump-revision x",
		"snapshot restore s --data-dir d", "snapshot restore s --wal-dir d", "snapshot restore s --name other",
		"snapshot restore s --initial-cluster default=http://a", "snapshot restore s --initial-cluster default=ftp://a:1",
		"snapshot restore s --initial-cluster default=http://a:1/p", "snapshot restore s --initial-cluster default",
		"snapshot restore s --initial-advertise-peer-urls localhost:1", "snapshot restore s --initial-advertise-peer-urls=",
		"snapshot restore s --initial-cluster default=http://127.0.0.1:5",
		"snapshot restore s --initial-cluster default=http://localhost:2380,b=http://localhost:2380",
		"snapshot restore s --initial-advertise-peer-urls http://localhost:2380,http://localhost:2381",
		"snapshot restore s --initial-cluster default=http://localhost:2380,default=http://localhost:2381",
		"snapshot restore db", "snapshot restore short", "snapshot restore short --skip-hash-check", "snapshot restore flipped",
		"snapshot restore empty", "snapshot status garbage", "snapshot restore garbage",
	}
	data, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(to string) {
		copyFile(t, snapshot, filepath.Join(to, "s"))
		copyFile(t, filepath.Join(dir, "member/snap/db"), filepath.Join(to, "db"))
		copyDir(t, dir, filepath.Join(to, "d"))
		flipped := bytes.Clone(data)
		flipped[len(flipped)/2] ^= 1
		for name, bytes := range map[string][]byte{
			"flipped": flipped, "short": data[:20], "empty": {}, "garbage": bytes.Repeat([]byte("garbage "), 5000),
		} {
			if err := os.WriteFile(filepath.Join(to, name), bytes, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, line := range lines {
		t.Run(line, func(t *testing.T) { compareUtl(t, prepare, strings.Fields(line)...) })
	}
	for _, line := range []string{"", "snapshot", "snapshot bogus", "--help", "completion bash", "completion zsh", "completion fish", "completion powershell"} {
		// Help and completion are each tool's own; that they come, and where, is compared.
		want := utl(t, tool(t, "etcdutl"), t.TempDir(), strings.Fields(line)...)
		got := utl(t, oursUtl(t), t.TempDir(), strings.Fields(line)...)
		if want.code != got.code || (want.stdout == "") != (got.stdout == "") {
			t.Errorf("%s\n theirs: %+v\n ours:   %+v", line, want, got)
		}
	}
}

// logOf is the part of a directory's only segment that is not zero, and its size.
func logOf(t testing.TB, walDir string) (records []byte, size int) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(walDir, "*"))
	if len(names) != 1 || !strings.HasSuffix(names[0], "0000000000000000-0000000000000000.wal") {
		t.Fatalf("%s holds %v", walDir, names)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimRight(data, "\x00"), len(data)
}

// snapOf is a directory's only snapshot file: its name, its metadata, and the members in it without
// the old store's counters.
func snapOf(t testing.TB, dataDir string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dataDir, "member/snap/*.snap"))
	if len(names) != 1 {
		t.Fatalf("%s holds %v", dataDir, names)
	}
	snapshot, err := snap.Read(zap.NewNop(), names[0])
	if err != nil {
		t.Fatal(err)
	}
	var store any
	if err := json.Unmarshal(snapshot.Data, &store); err != nil {
		t.Fatal(err)
	}
	forget(store)
	text, _ := json.Marshal(store)
	return fmt.Sprintf("%s %v %s", filepath.Base(names[0]), snapshot.Metadata, text)
}

// forget drops what counts the old store's own operations.
func forget(value any) {
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	for _, name := range []string{"CreatedIndex", "ModifiedIndex", "CurrentIndex", "ExpireTime", "WatcherHub", "Stats"} {
		delete(object, name)
	}
	for _, inner := range object {
		forget(inner)
	}
}

// tree is the names in a directory with their permissions.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "%s %v\n", name, info.Mode())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// compareRestored compares what both tools made of one snapshot, byte by byte where it can be.
func compareRestored(t *testing.T, theirs, mine, walDir string) {
	t.Helper()
	wantLog, wantSize := logOf(t, filepath.Join(theirs, walDir))
	gotLog, gotSize := logOf(t, filepath.Join(mine, walDir))
	if !bytes.Equal(wantLog, gotLog) || wantSize != gotSize {
		t.Errorf("the logs differ, of %d and %d bytes\n theirs: %q\n ours:   %q", wantSize, gotSize, wantLog, gotLog)
	}
	want, got := snapOf(t, filepath.Join(theirs, "r")), snapOf(t, filepath.Join(mine, "r"))
	if want != got {
		t.Errorf("the snapshot files differ\n theirs: %s\n ours:   %s", want, got)
	}
	if want, got := tree(t, theirs), tree(t, mine); want != got {
		t.Errorf("the directories differ\n theirs: %s\n ours:   %s", want, got)
	}
	// The hash covers every bucket, members and applied index included.
	for _, args := range [][]string{{"snapshot", "status", "r/member/snap/db"}, {"hashkv", "r/member/snap/db"}} {
		bin := tool(t, "etcdutl")
		want, got := utl(t, bin, theirs, args...), utl(t, bin, mine, args...)
		size := regexp.MustCompile(`, [0-9.]+ [kM]?B`)
		want.stdout, got.stdout = size.ReplaceAllString(want.stdout, ""), size.ReplaceAllString(got.stdout, "")
		if want != got {
			t.Errorf("%v\n theirs: %+v\n ours:   %+v", args, want, got)
		}
	}
}

// differences are the lines that only one of two texts has.
func differences(want, got string) string {
	var out strings.Builder
	for _, side := range []struct{ sign, has, lacks string }{{"-", want, got}, {"+", got, want}} {
		lacks := "\n" + side.lacks + "\n"
		for _, line := range strings.Split(side.has, "\n") {
			if !strings.Contains(lacks, "\n"+line+"\n") {
				fmt.Fprintf(&out, "%s %s\n", side.sign, line)
			}
		}
	}
	return out.String()
}

// TestEtcdutlRestore restores snapshots of both servers with both tools, compares the directories,
// and starts both servers on both.
func TestEtcdutlRestore(t *testing.T) {
	files := sources(t)
	cases := []struct{ name, source, args string }{
		{"theirs", "theirs", ""},
		{"ours", "ours", ""},
		{"bumped", "theirs", "--bump-revision 1000 --mark-compacted"},
		{"bumped ours", "ours", "--bump-revision 1000000000 --mark-compacted --initial-memory-map-size 0"},
		{"database", "db", "--skip-hash-check"},
		{"wal elsewhere", "theirs", "--wal-dir w/ --skip-hash-check=true"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := freePorts(t)
			peer := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
			args := append(strings.Fields("snapshot restore s --data-dir r --name m"), strings.Fields(c.args)...)
			args = append(args, "--initial-cluster=m="+peer, "--initial-advertise-peer-urls="+peer)
			theirs, mine := compareUtl(t, func(dir string) { copyFile(t, files[c.source], filepath.Join(dir, "s")) }, args...)
			walDir := "r/member/wal"
			if strings.Contains(c.args, "--wal-dir") {
				walDir = "w"
			}
			compareRestored(t, theirs, mine, walDir)
			states := map[string]string{}
			for by, made := range map[string]string{"theirs": theirs, "ours": mine} {
				for runner, bin := range map[string]string{"theirs": tool(t, "etcd"), "ours": ours(t)} {
					dir := t.TempDir()
					copyDir(t, made, dir)
					var more []string
					if walDir == "w" {
						more = append(more, "--wal-dir="+filepath.Join(dir, "w"))
					}
					s := start(t, bin, filepath.Join(dir, "r"), p, more...)
					name := "restored by " + by + ", run by " + runner
					before := state(t, s)
					if _, err := s.client.Put(ctx(t), "new", "one"); err != nil {
						t.Fatal(err)
					}
					states[name] = before + state(t, s)
					s.client.Close()
					s.stop()
					// It comes back as it was left.
					s = start(t, bin, filepath.Join(dir, "r"), p, more...)
					if again := state(t, s); !strings.HasSuffix(states[name], again) {
						t.Errorf("%s, after a restart:\n%s", name, differences(states[name], again))
					}
					s.client.Close()
					s.stop()
				}
			}
			want := states["restored by theirs, run by theirs"]
			for name, got := range states {
				if got != want {
					t.Errorf("%s:\n%s", name, differences(want, got))
				}
			}
		})
	}
}

// TestEtcdutlRestoreOfThree restores a cluster of three with both tools: the same identities, the
// same logs, and real servers that find each other on what ours made.
func TestEtcdutlRestoreOfThree(t *testing.T) {
	snapshot, _ := snapshotOf(t, tool(t, "etcd"), freePorts(t), 4)
	names := []string{"a", "b", "c"}
	var all []ports
	var cluster []string
	for _, name := range names {
		all = append(all, freePorts(t))
		cluster = append(cluster, fmt.Sprintf("%s=http://127.0.0.1:%d", name, all[len(all)-1].peer))
	}
	made := map[string]string{}
	for i, name := range names {
		peer := fmt.Sprintf("http://127.0.0.1:%d", all[i].peer)
		restore := []string{
			"snapshot", "restore", "s", "--data-dir", "r", "--name", name, "--initial-cluster-token", "three",
			"--initial-cluster", strings.Join(cluster, ","), "--initial-advertise-peer-urls", peer,
		}
		theirs, mine := compareUtl(t, func(dir string) { copyFile(t, snapshot, filepath.Join(dir, "s")) }, restore...)
		compareRestored(t, theirs, mine, "r/member/wal")
		made[name] = filepath.Join(mine, "r")
	}
	theirs, mine := tool(t, "etcd"), ours(t)
	for kind, bins := range map[string][]string{
		"theirs": {theirs, theirs, theirs}, "ours": {mine, mine, mine}, "mixed": {theirs, mine, theirs},
	} {
		t.Run(kind, func(t *testing.T) {
			var endpoints []string
			for i, name := range names {
				dir := filepath.Join(t.TempDir(), "r")
				copyDir(t, made[name], dir)
				peer := fmt.Sprintf("http://127.0.0.1:%d", all[i].peer)
				client := fmt.Sprintf("http://127.0.0.1:%d", all[i].client)
				endpoints = append(endpoints, client)
				cmd := exec.Command(bins[i], "--name="+name, "--data-dir="+dir,
					"--listen-client-urls="+client, "--advertise-client-urls="+client,
					"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
					"--initial-cluster="+strings.Join(cluster, ","), "--initial-cluster-token=three")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			}
			checkCluster(t, endpoints)
		})
	}
}

// checkCluster writes to a cluster, and compares its members.
func checkCluster(t *testing.T, endpoints []string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put, err := c.Put(ctx(t), "new", "one")
	if err != nil {
		t.Fatal(err)
	}
	members, err := c.MemberList(ctx(t))
	if err != nil || len(members.Members) != len(endpoints) {
		t.Fatal(members, err)
	}
	hashes := map[uint32]bool{}
	for _, endpoint := range endpoints {
		one, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		if _, err := one.Get(ctx(t), "new"); err != nil {
			t.Fatal(err)
		}
		hash, err := one.HashKV(ctx(t), endpoint, put.Header.Revision)
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash.Hash] = true
	}
	if len(hashes) != 1 {
		t.Errorf("the members' hashes differ: %v", hashes)
	}
}

// appendNewer adds an entry to a log that only etcd of that version can read.
func appendNewer(t testing.TB, dataDir, version string) {
	t.Helper()
	dir := filepath.Join(dataDir, "member/wal")
	snaps, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wal.Open(zap.NewNop(), dir, snaps[len(snaps)-1])
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, state, entries, err := w.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	request := &pb.InternalRaftRequest{DowngradeVersionTest: &pb.DowngradeVersionTestRequest{Ver: version}}
	data, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	entry := &raftpb.Entry{Term: last.Term, Index: proto.Uint64(last.GetIndex() + 1), Data: data}
	if err := w.Save(state, []*raftpb.Entry{entry}); err != nil {
		t.Fatal(err)
	}
}

// TestEtcdutlMigrate moves data directories up and down with both tools.
func TestEtcdutlMigrate(t *testing.T) {
	_, theirs := snapshotOf(t, tool(t, "etcd"), freePorts(t), 5)
	_, mine := snapshotOf(t, ours(t), freePorts(t), 6)
	cases := []struct{ name, from, newer, targets string }{
		{"down and up", theirs, "", "3.6 3.5 3.5 3.6 3.7 3.5 3.7"},
		{"ours", mine, "", "3.6 3.5 3.6 3.7"},
		{"unknown", theirs, "", "3.8 4.0 3.9"},
		{"newer log", theirs, "3.7.0", "3.6 3.5 3.7"},
		{"somewhat newer log", theirs, "3.6.0", "3.5 3.6 3.5"},
		{"forced", theirs, "3.7.0", "3.6! 3.5! 3.8! 3.7!"},
		{"version of the future", theirs, "9.9.9", "3.6 3.7"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			theirs, mine := t.TempDir(), t.TempDir()
			for _, dir := range []string{theirs, mine} {
				copyDir(t, c.from, filepath.Join(dir, "d"))
				if c.newer != "" {
					appendNewer(t, filepath.Join(dir, "d"), c.newer)
				}
			}
			for _, target := range strings.Fields(c.targets) {
				args := []string{"migrate", "--data-dir", "d", "--target-version", strings.TrimSuffix(target, "!")}
				if strings.HasSuffix(target, "!") {
					args = append(args, "--force")
				}
				want, got := utl(t, tool(t, "etcdutl"), theirs, args...), utl(t, oursUtl(t), mine, args...)
				if want != got {
					t.Errorf("%v\n theirs: %+v\n ours:   %+v", args, want, got)
				}
				status := []string{"snapshot", "status", "d/member/snap/db", "-w", "json"}
				want, got = utl(t, tool(t, "etcdutl"), theirs, status...), utl(t, tool(t, "etcdutl"), mine, status...)
				if want != got {
					t.Errorf("after %v\n theirs: %+v\n ours:   %+v", args, want, got)
				}
			}
		})
	}
}

// TestEtcdutlDefrag defragments databases with much free space, and refuses one in use.
func TestEtcdutlDefrag(t *testing.T) {
	p := freePorts(t)
	dir := filepath.Join(t.TempDir(), "d")
	s := start(t, tool(t, "etcd"), dir, p)
	for i := range 300 {
		if _, err := s.client.Put(ctx(t), fmt.Sprint("k", i%20), strings.Repeat("x", 10000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.client.Compact(ctx(t), 300, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	before := state(t, s)
	inUse := utl(t, oursUtl(t), t.TempDir(), "defrag", "--timeout=100ms", "--data-dir", dir)
	if inUse.code != 1 || !strings.HasSuffix(inUse.errors, "(timeout)") {
		t.Errorf("a database in use: %+v", inUse)
	}
	s.client.Close()
	s.stop()
	theirs, mine := compareUtl(t, func(to string) { copyDir(t, dir, filepath.Join(to, "d")) }, "defrag", "--data-dir", "d")
	sizes := map[string]int64{}
	for _, dir := range []string{theirs, mine} {
		info, err := os.Stat(filepath.Join(dir, "d/member/snap/db"))
		if err != nil {
			t.Fatal(err)
		}
		sizes[dir] = info.Size()
	}
	if sizes[theirs] != sizes[mine] {
		t.Errorf("sizes: %v", sizes)
	}
	for _, args := range [][]string{{"hashkv", "d/member/snap/db"}, {"snapshot", "status", "d/member/snap/db"}} {
		want, got := utl(t, tool(t, "etcdutl"), theirs, args...), utl(t, tool(t, "etcdutl"), mine, args...)
		if want != got {
			t.Errorf("%v\n theirs: %+v\n ours:   %+v", args, want, got)
		}
	}
	s = start(t, tool(t, "etcd"), filepath.Join(mine, "d"), p)
	if after := state(t, s); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
