package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// placed is one way to set database files in each other's places.
type placed struct {
	name string
	// What is db, and what lies beside it as the newest snapshot's: "" for none.
	db, snapshot string
	// runs tells whether ours starts, and said what it says otherwise. etcd is looked at where it
	// decides the same.
	runs bool
	said string
	etcd bool
}

const noSnapshotFile = "failed to find database snapshot file (snap: snapshot file doesn't exist)"

var placements = []placed{
	{"an older db alone", "older", "", false, noSnapshotFile, true},
	{"an older db in the snapshot's place too", "older", "older", false, "does not match with snapshot (index ", true},
	{"an older db in the snapshot's place alone", "", "older", false, "does not match with snapshot (index ", false},
	{"no db", "", "", false, noSnapshotFile, true},
	{"an older db and the current one in the snapshot's place", "older", "current", true, "", true},
	{"no db and the current one in the snapshot's place", "", "current", true, "", false},
	{"an older db in the snapshot's place beside the current one", "current", "older", true, "", true},
	{"half a db in the snapshot's place", "older", "half", false, "damaged", false},
	{"an empty file in the snapshot's place", "older", "empty", false, "damaged", false},
	{"another cluster's db in the snapshot's place", "older", "other", false, "is of another cluster", false},
	{"another cluster's db", "other", "", false, "is of another cluster", false},
}

// Database files that an operator has set in others' places: what is acknowledged is there, or nothing
// starts and no file was touched.
func TestDatabasesInTheWrongPlace(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Parallel()
			c, files := withSnapshot(t, bin)
			n := c.nodes[0]
			made := n.dir
			for i, p := range placements {
				if bin != ours(t) && !p.etcd {
					continue
				}
				n.dir = fmt.Sprintf("%s-%d", made, i)
				copyDir(t, made, n.dir)
				if problem := p.try(c, files); problem != nil {
					t.Errorf("%s: %v", p.name, problem)
				}
			}
		})
	}
}

// withSnapshot runs a member over 70 writes and gives databases of its life, with the place of its
// newest snapshot's.
func withSnapshot(t *testing.T, bin string) (*cluster, map[string]string) {
	t.Helper()
	c := newCluster(t, []string{bin}, "--snapshot-count=10")
	n, files := c.nodes[0], map[string]string{"": ""}
	keep := func(name string) {
		files[name] = filepath.Join(c.dir, name)
		copyFile(t, n.dir+"/member/snap/db", files[name])
	}
	n.start()
	putNumbered(t, c, 0, 20)
	n.stop()
	keep("older")
	n.start()
	putNumbered(t, c, 20, 70)
	// What was applied goes into the file within a moment, and the record follows.
	poll(t, 20*time.Second, func() error {
		if index := newestSnapshot(n); index < "0000000000000028" {
			return fmt.Errorf("the newest snapshot is at %s", index)
		}
		return nil
	})
	n.stop()
	keep("current")
	other := newCluster(t, []string{bin})
	other.nodes[0].start()
	putNumbered(t, other, 0, 200)
	other.nodes[0].stop()
	files["other"] = filepath.Join(c.dir, "other")
	copyFile(t, other.nodes[0].dir+"/member/snap/db", files["other"])
	whole, err := os.ReadFile(files["current"])
	if err != nil {
		t.Fatal(err)
	}
	// Most of the file is free space; what is cut off must be in use.
	for name, part := range map[string][]byte{"half": whole[:20_000], "empty": nil} {
		files[name] = filepath.Join(c.dir, name)
		if err := os.WriteFile(files[name], part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files["place"] = newestSnapshot(n) + ".snap.db"
	return c, files
}

// newestSnapshot is the index of the member's newest snapshot, as its file's name has it.
func newestSnapshot(n *node) string {
	names, _ := filepath.Glob(n.dir + "/member/snap/*.snap")
	newest := ""
	for _, name := range names {
		_, index, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".snap"), "-")
		newest = max(newest, index)
	}
	return newest
}

func putNumbered(t *testing.T, c *cluster, from, to int) {
	t.Helper()
	client := c.dial()
	defer client.Close()
	for i := from; i < to; i++ {
		if _, err := client.Put(ctx(t), fmt.Sprintf("k%02d", i), strings.Repeat("v", 100)); err != nil {
			t.Fatal(err)
		}
	}
}

func (p placed) try(c *cluster, files map[string]string) error {
	n := c.nodes[0]
	snap := n.dir + "/member/snap/"
	place := func(what, where string) []byte {
		_ = os.Remove(where)
		if what == "" {
			return nil
		}
		copyFile(c.t, files[what], where)
		data, _ := os.ReadFile(where)
		return data
	}
	db, received := place(p.db, snap+"db"), place(p.snapshot, snap+files["place"])
	n.launch()
	if p.runs {
		n.await()
		defer n.stop()
		client := c.dial()
		defer client.Close()
		resp, err := client.Get(ctx(c.t), "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil || resp.Count != 70 {
			return fmt.Errorf("of 70 keys %v are there: %v", resp, err)
		}
		return nil
	}
	n.ended(30 * time.Second)
	if !strings.Contains(n.tail(), p.said) {
		return fmt.Errorf("%q is not said: %s", p.said, n.tail())
	}
	if n.bin != ours(c.t) {
		return nil
	}
	for where, before := range map[string][]byte{"db": db, files["place"]: received} {
		if after, _ := os.ReadFile(snap + where); !bytes.Equal(before, after) {
			return fmt.Errorf("%s had %d bytes and has %d", where, len(before), len(after))
		}
	}
	return nil
}

// A member whose database another process still has waits, says so, and takes over.
func TestALockedDatabaseIsWaitedFor(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, []string{bin})
			n := c.nodes[0]
			n.start()
			n.stop()
			file, err := os.OpenFile(n.dir+"/member/snap/db", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			n.launch()
			said := "db file is flocked by another process, or taking too long"
			poll(t, 30*time.Second, func() error {
				if !n.runs() {
					return fatal{fmt.Errorf("it ended: %s", n.tail())}
				}
				if !strings.Contains(n.tail(), said) {
					return fmt.Errorf("it does not say that it waits: %s", n.tail())
				}
				return nil
			})
			file.Close()
			n.await()
			n.stop()
		})
	}
}

// A member that waits for its database stops when it is told to.
func TestWhoWaitsForADatabaseCanBeStopped(t *testing.T) {
	c := newCluster(t, []string{ours(t)})
	n := c.nodes[0]
	n.start()
	second := *n
	// The ports are taken as well, so the second one has others.
	second.client, second.listenPeer = n.client+"1", n.listenPeer+"1"
	second.client = strings.Replace(second.client, ":20001", ":2900", 1)
	second.listenPeer = strings.Replace(second.listenPeer, ":21001", ":2901", 1)
	second.cmd, second.startedBefore = nil, false
	second.launch()
	await(time.Second)
	if !second.runs() {
		t.Fatalf("it does not wait: %s", n.tail())
	}
	second.stop()
	n.stop()
}

// recordPlaces are the places of a segment's records.
func recordPlaces(segment []byte) (places []int) {
	for at := 0; at+8 <= len(segment); {
		field := binary.LittleEndian.Uint64(segment[at:])
		if field == 0 {
			break
		}
		places = append(places, at)
		if field>>63 == 1 {
			at += int(field >> 56 & 7)
		}
		at += 8 + int(field&(1<<56-1))
	}
	return places
}

// Zeros over the length of a record in the middle of the log: ours says where they are, ends, and
// leaves every file as it is. etcd takes them for the end of the log and zeros the rest.
func TestZerosInTheMiddleOfTheLog(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, []string{bin})
			n := c.nodes[0]
			n.start()
			putNumbered(t, c, 0, 70)
			n.stop()
			segments, _ := filepath.Glob(n.dir + "/member/wal/*.wal")
			path := segments[len(segments)-1]
			segment, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			places := recordPlaces(segment)
			place := places[len(places)/3]
			clear(segment[place : place+8])
			if err := os.WriteFile(path, segment, 0o600); err != nil {
				t.Fatal(err)
			}
			before := filesOf(t, n.dir)
			n.launch()
			if bin != ours(t) {
				poll(t, 30*time.Second, func() error {
					if now, _ := os.ReadFile(path); bytes.Equal(now, segment) {
						return fmt.Errorf("the log is as it was")
					}
					return nil
				})
				n.kill()
				return
			}
			n.ended(30 * time.Second)
			said := fmt.Sprintf("%s: damaged at offset %d: zeros stand in the place of a record's length", filepath.Base(path), place)
			if !strings.Contains(n.tail(), said) {
				t.Errorf("%q is not said: %s", said, n.tail())
			}
			if after := filesOf(t, n.dir); !maps.Equal(before, after) {
				t.Errorf("files were changed: %d before, %d after", len(before), len(after))
			}
		})
	}
}

// filesOf are the files below a directory with what they hold.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Files that are more than are kept are removed while the member runs, every 30 s, and it is said.
func TestFilesThatAreTooManyArePurged(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, []string{bin}, "--max-snapshots=2")
			n := c.nodes[0]
			n.start()
			snap := n.dir + "/member/snap/"
			names := make([]string, 4)
			for i := range names {
				names[i] = fmt.Sprintf("%016x-%016x.snap", 0xf0+i, 1)
				if err := os.WriteFile(snap+names[i], []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			poll(t, 60*time.Second, func() error {
				left, _ := filepath.Glob(snap + "*.snap")
				if len(left) != 2 || filepath.Base(left[0]) != names[2] || filepath.Base(left[1]) != names[3] {
					return fmt.Errorf("these are left: %v", left)
				}
				return nil
			})
			for _, name := range names[:2] {
				said := false
				for _, line := range strings.Split(n.tail(), "\n") {
					said = said || strings.Contains(line, `"msg":"purged"`) && strings.Contains(line, name)
				}
				if !said {
					t.Errorf("it does not say that %s is purged: %s", name, n.tail())
				}
			}
			n.stop()
		})
	}
}
