package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// dataTemplate is a directory of a member that etcd left, and databases that it had before.
type dataTemplate struct {
	dir string
	// early is the path of a database from before the snapshots.
	early string
}

// newDataTemplate makes a member of one with snapshots and a log behind them.
func newDataTemplate(t testing.TB, name string) dataTemplate {
	t.Helper()
	root := t.TempDir()
	made := dataTemplate{dir: filepath.Join(root, "data"), early: filepath.Join(root, "early")}
	p := freePorts(t)
	s := start(t, tool(t, "etcd"), made.dir, p, "--name="+name,
		fmt.Sprintf("--initial-cluster=%s=http://127.0.0.1:%d", name, p.peer), "--snapshot-count=10",
		"--snapshot-catchup-entries=5", "--unsafe-no-fsync", "--heartbeat-interval=10", "--election-timeout=100", "--backend-batch-interval=10ms")
	put := func(from, to int) {
		for n := from; n < to; n++ {
			if _, err := s.client.Put(ctx(t), fmt.Sprint("k", n), "v"); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 15)
	if _, err := s.client.Get(ctx(t), "k0"); err != nil {
		t.Fatal(err)
	}
	copyOf, err := s.client.Snapshot(ctx(t))
	if err == nil {
		var file *os.File
		if file, err = os.Create(made.early); err == nil {
			_, err = io.Copy(file, copyOf)
			// A hash follows the database.
			size, _ := file.Seek(0, io.SeekEnd)
			err = errors.Join(err, file.Truncate(size-size%4096), file.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	put(15, 50)
	s.stop()
	return made
}

// copyTree copies a directory with its permissions.
func (s *scene) copyTree(from, to string) {
	s.need(filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return copySparse(path, target)
	}))
}

// copySparse copies a file without the zeros at its end, which a log has many of.
func copySparse(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	err = os.WriteFile(to, bytes.TrimRight(text, "\x00"), 0o600)
	return errors.Join(err, os.Truncate(to, int64(len(text))))
}

// newest is the last of the files with an ending.
func (s *scene) newest(dir, ending string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "*"+ending))
	if len(found) == 0 {
		s.need(fmt.Errorf("no %s in %s", ending, dir))
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// change rewrites a file.
func (s *scene) change(path string, how func([]byte) []byte) {
	text, err := os.ReadFile(path)
	s.need(err)
	text = how(text)
	err = os.WriteFile(path, bytes.TrimRight(text, "\x00"), 0o600)
	s.need(errors.Join(err, os.Truncate(path, int64(len(text)))))
}

// keys notes what can be read.
func keys(s *scene) {
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := pb.NewKVClient(s.connect()).Range(limited, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true})
	if err != nil {
		s.fact("keys", "%v", err)
		return
	}
	s.fact("keys", "%d at revision %d", all.Count, all.Header.Revision)
}

// etcdWaits names lines after which etcd neither serves nor ends: its log and its database do not belong
// together.
var etcdWaits = map[string]bool{
	"no log": true, "an empty log": true, "a log's first file removed": true, "the log cut": true, "the log is a file": true,
	"a log elsewhere that is not there": true, "a log elsewhere and one in its place": true, "a database alone": true,
	"another member's database": true, "another member's log": true,
}

// dataLines are about what lies in the directories.
func dataLines(t testing.TB) []startLine {
	made, other := newDataTemplate(t, "m"), newDataTemplate(t, "n")
	var lines []startLine
	// Each line begins with a copy of the member's directory.
	member := func(name string, change func(s *scene, dir string), args ...string) {
		lines = append(lines, startLine{name: name, args: args, then: keys, waits: etcdWaits[name], before: func(s *scene) {
			s.copyTree(made.dir, s.dir+"/data")
			if change != nil {
				change(s, s.dir+"/data")
			}
		}})
	}
	fresh := func(name string, before func(s *scene), args ...string) {
		lines = append(lines, startLine{name: name, args: args, then: keys, waits: etcdWaits[name], before: before})
	}
	remove := func(paths ...string) func(*scene, string) {
		return func(s *scene, dir string) {
			for _, path := range paths {
				found, _ := filepath.Glob(filepath.Join(dir, path))
				if len(found) == 0 {
					s.need(fmt.Errorf("there is no %s", path))
				}
				for _, one := range found {
					s.need(os.RemoveAll(one))
				}
			}
		}
	}
	write := func(path, text string) func(*scene, string) {
		return func(s *scene, dir string) {
			s.need(os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600))
		}
	}
	damage := func(path string, how func([]byte) []byte) func(*scene, string) {
		return func(s *scene, dir string) {
			found, _ := filepath.Glob(filepath.Join(dir, path))
			if len(found) == 0 {
				s.need(fmt.Errorf("there is no %s", path))
			}
			s.change(found[len(found)-1], how)
		}
	}
	member("a member", nil)
	member("a member by another name", nil, "--name=x")
	member("a member with another token", nil, "--initial-cluster-token=x")
	member("a member with another list", nil, "--initial-cluster=x=http://127.0.0.9:1,y=http://127.0.0.9:2")
	member("a member with a list that is nonsense", nil, "--initial-cluster=nonsense")
	member("a member told to join", nil, "--initial-cluster-state=existing")
	member("a member with another peer URL", nil, "--initial-advertise-peer-urls=http://127.0.0.9:1")
	member("a member with another advertised URL", nil, "--advertise-client-urls=http://x:1,http://a:2")
	member("a member with discovery", nil, "--discovery-endpoints=http://127.0.0.1:1", "--discovery-token=t", "--initial-cluster=")
	member("a member by force", nil, "--force-new-cluster")
	member("a file beside", write("nonsense", "x"))
	member("a file beside in the member's directory", write("member/nonsense", "x"))
	member("a file beside the log", write("member/wal/nonsense", "x"))
	member("a file beside the snapshots", write("member/snap/nonsense", "x"))
	member("old snapshots", func(s *scene, dir string) {
		for n := range 6 {
			s.copyFile(s.newest(dir+"/member/snap", ".snap"), fmt.Sprintf("%s/member/snap/0000000000000001-000000000000000%d.snap", dir, n+1))
		}
	})
	member("a database on its way", write("member/snap/tmp123", "x"))
	member("a database on its way, of a name", write("member/snap/db.tmp.123", "x"))
	member("a proxy's directory beside", func(s *scene, dir string) { s.need(os.Mkdir(dir+"/proxy", 0o700)) })
	member("no log", remove("member/wal"))
	member("an empty log", remove("member/wal/*"))
	member("no database", remove("member/snap/db"))
	member("no snapshots", remove("member/snap/*.snap"))
	member("no snapshots and no database", remove("member/snap/*"))
	member("no directory of snapshots", remove("member/snap"))
	member("no directory of a member", remove("member"))
	member("a log's first file removed", remove("member/wal/0000000000000000-*"))
	member("an empty database", damage("member/snap/db", func([]byte) []byte { return nil }))
	member("a database of nonsense", damage("member/snap/db", func(b []byte) []byte { return []byte(strings.Repeat("nonsense", len(b)/8)) }))
	member("a database cut behind its first pages", damage("member/snap/db", func(b []byte) []byte { return b[:8192] }))
	member("a database of a few bytes", damage("member/snap/db", func(b []byte) []byte { return b[:100] }))
	member("a database with both of its first pages overwritten", damage("member/snap/db", func(b []byte) []byte { copy(b, make([]byte, 8192)); return b }))
	member("a database with its first page overwritten", damage("member/snap/db", func(b []byte) []byte { copy(b, make([]byte, 4096)); return b }))
	member("the newest snapshot cut", damage("member/snap/*.snap", func(b []byte) []byte { return b[:len(b)/2] }))
	member("the newest snapshot empty", damage("member/snap/*.snap", func([]byte) []byte { return nil }))
	member("the newest snapshot changed", damage("member/snap/*.snap", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }))
	member("the log cut", damage("member/wal/*.wal", func(b []byte) []byte { return b[:1000] }))
	member("the log empty", damage("member/wal/*.wal", func([]byte) []byte { return nil }))
	member("the log changed in its head", damage("member/wal/*.wal", func(b []byte) []byte { b[20] ^= 1; return b }))
	member("the log of nonsense", damage("member/wal/*.wal", func(b []byte) []byte { copy(b, strings.Repeat("nonsense", 100)); return b }))
	member("a file of the log missing", write("member/wal/0000000000000009-0000000000000100.wal", ""))
	member("the log is a file", func(s *scene, dir string) {
		s.need(errors.Join(os.RemoveAll(dir+"/member/wal"), os.WriteFile(dir+"/member/wal", nil, 0o600)))
	})
	member("the snapshots are a file", func(s *scene, dir string) {
		s.need(errors.Join(os.RemoveAll(dir+"/member/snap"), os.WriteFile(dir+"/member/snap", nil, 0o600)))
	})
	member("the database is a directory", func(s *scene, dir string) {
		s.need(errors.Join(os.RemoveAll(dir+"/member/snap/db"), os.Mkdir(dir+"/member/snap/db", 0o700)))
	})
	member("an old database in its place", func(s *scene, dir string) { s.copyFile(made.early, dir+"/member/snap/db") })
	member("an old database as the newest snapshot's", func(s *scene, dir string) {
		s.copyFile(made.early, filepath.Join(dir, "member/snap", snapDB(s, dir)))
	})
	member("an old database as the newest snapshot's, and none in its place", func(s *scene, dir string) {
		s.copyFile(made.early, filepath.Join(dir, "member/snap", snapDB(s, dir)))
		s.need(os.Remove(dir + "/member/snap/db"))
	})
	member("an old database in both places", func(s *scene, dir string) {
		s.copyFile(made.early, filepath.Join(dir, "member/snap", snapDB(s, dir)))
		s.copyFile(made.early, dir+"/member/snap/db")
	})
	member("an old database as a later snapshot's", func(s *scene, dir string) {
		s.copyFile(made.early, dir+"/member/snap/00000000000003e7.snap.db")
	})
	member("nonsense as the newest snapshot's database", func(s *scene, dir string) {
		s.need(os.WriteFile(filepath.Join(dir, "member/snap", snapDB(s, dir)), []byte("nonsense"), 0o600))
	})
	member("nonsense as the newest snapshot's database beside an old one", func(s *scene, dir string) {
		s.need(os.WriteFile(filepath.Join(dir, "member/snap", snapDB(s, dir)), []byte("nonsense"), 0o600))
		s.copyFile(made.early, dir+"/member/snap/db")
	})
	member("another member's database", func(s *scene, dir string) { s.copyFile(other.dir+"/member/snap/db", dir+"/member/snap/db") })
	member("another member's log", func(s *scene, dir string) {
		s.need(os.RemoveAll(dir + "/member/wal"))
		s.copyTree(other.dir+"/member/wal", dir+"/member/wal")
	})
	member("a directory that all may read", func(s *scene, dir string) { s.need(os.Chmod(dir, 0o755)) })
	member("a member's directory that all may read", func(s *scene, dir string) { s.need(os.Chmod(dir+"/member", 0o755)) })
	member("a log elsewhere", func(s *scene, dir string) { s.need(os.Rename(dir+"/member/wal", s.dir+"/wal")) }, "--wal-dir={dir}/wal")
	member("a log elsewhere that is not there", func(s *scene, dir string) { s.need(os.RemoveAll(dir + "/member/wal")) }, "--wal-dir={dir}/wal")
	member("a log elsewhere and one in its place", nil, "--wal-dir={dir}/wal")
	member("a symbolic link", func(s *scene, dir string) {
		s.need(errors.Join(os.Rename(dir, s.dir+"/real"), os.Symlink("real", dir)))
	})
	fresh("another member's directory", func(s *scene) { s.copyTree(other.dir, s.dir+"/data") })
	fresh("an empty directory", func(s *scene) { s.need(os.Mkdir(s.dir+"/data", 0o700)) })
	fresh("an empty directory that all may read", func(s *scene) { s.need(os.Mkdir(s.dir+"/data", 0o755)) })
	fresh("a directory with a file", func(s *scene) {
		s.need(errors.Join(os.Mkdir(s.dir+"/data", 0o700), os.WriteFile(s.dir+"/data/x", nil, 0o600)))
	})
	fresh("a directory with lost+found", func(s *scene) {
		s.need(errors.Join(os.Mkdir(s.dir+"/data", 0o700), os.Mkdir(s.dir+"/data/lost+found", 0o700)))
	})
	fresh("a directory with an empty member", func(s *scene) { s.need(os.MkdirAll(s.dir+"/data/member", 0o700)) })
	fresh("a directory with an empty log", func(s *scene) { s.need(os.MkdirAll(s.dir+"/data/member/wal", 0o700)) })
	fresh("a directory with an empty snap", func(s *scene) { s.need(os.MkdirAll(s.dir+"/data/member/snap", 0o700)) })
	fresh("a directory of a proxy", func(s *scene) { s.need(os.MkdirAll(s.dir+"/data/proxy", 0o700)) })
	fresh("a database alone", func(s *scene) {
		s.need(os.MkdirAll(s.dir+"/data/member/snap", 0o700))
		s.copyFile(made.early, s.dir+"/data/member/snap/db")
	})
	fresh("a member that is a file", func(s *scene) {
		s.need(errors.Join(os.Mkdir(s.dir+"/data", 0o700), os.WriteFile(s.dir+"/data/member", nil, 0o600)))
	})
	fresh("a file in place of the directory", func(s *scene) { s.need(os.WriteFile(s.dir+"/data", nil, 0o600)) })
	fresh("a file above the directory", func(s *scene) { s.need(os.WriteFile(s.dir+"/data", nil, 0o600)) }, "--data-dir={dir}/data/x")
	fresh("a link to nowhere", func(s *scene) { s.need(os.Symlink("nowhere", s.dir+"/data")) })
	fresh("a link to a directory", func(s *scene) {
		s.need(errors.Join(os.Mkdir(s.dir+"/real", 0o700), os.Symlink("real", s.dir+"/data")))
	})
	fresh("a link to itself", func(s *scene) { s.need(os.Symlink("data", s.dir+"/data")) })
	fresh("a log in place of a file", func(s *scene) { s.need(os.WriteFile(s.dir+"/wal", nil, 0o600)) }, "--wal-dir={dir}/wal")
	fresh("a log elsewhere with a file", func(s *scene) {
		s.need(errors.Join(os.Mkdir(s.dir+"/wal", 0o700), os.WriteFile(s.dir+"/wal/x", nil, 0o600)))
	}, "--wal-dir={dir}/wal")
	fresh("a new log elsewhere", nil, "--wal-dir={dir}/a/b")
	fresh("a relative log elsewhere", nil, "--wal-dir=wal")
	fresh("the log in the data directory", nil, "--wal-dir={dir}/data/wal")
	fresh("the log in its usual place", nil, "--wal-dir={dir}/data/member/wal")
	fresh("the log in the place of the data", nil, "--wal-dir={dir}/data")
	fresh("directories above", nil, "--data-dir={dir}/a/b/c")
	fresh("a relative directory", nil, "--data-dir=a")
	fresh("a slash behind", nil, "--data-dir={dir}/a/")
	fresh("dots", nil, "--data-dir={dir}/a/../b/./c")
	fresh("the working directory", nil, "--data-dir=.")
	fresh("a blank in the name", nil, "--data-dir={dir}/a b")
	fresh("a tilde", nil, "--data-dir=~/x")
	fresh("a directory in /proc", nil, "--data-dir=/proc/x")
	fresh("/dev/null", nil, "--data-dir=/dev/null")
	lines = append(lines, lockLines(made)...)
	return lines
}

func (s *scene) copyFile(from, to string) {
	s.need(copySparse(from, to))
}

// snapDB is the name of the database that belongs to the newest snapshot.
func snapDB(s *scene, dir string) string {
	name := filepath.Base(s.newest(filepath.Join(dir, "member/snap"), ".snap"))
	_, index, _ := strings.Cut(strings.TrimSuffix(name, ".snap"), "-")
	return index + ".snap.db"
}

// lockLines start a server while another one has the directory.
func lockLines(made dataTemplate) []startLine {
	hold := func(s *scene) {
		s.copyTree(made.dir, s.dir+"/data")
		words := []string{s.bin, "--name=m", "--data-dir=" + s.dir + "/data", "--unsafe-no-fsync"}
		for _, one := range []string{"listen-client-urls=http://%s:3379", "advertise-client-urls=http://%s:3379", "listen-peer-urls=http://%s:3380"} {
			words = append(words, "--"+fmt.Sprintf(one, s.ip))
		}
		cmd, ended := s.launch(words, nil)
		s.holder = func(signal syscall.Signal) {
			_ = cmd.Process.Signal(signal)
			<-ended
		}
		s.others = append(s.others, func() { s.holder(syscall.SIGKILL) })
		for begun := time.Now(); !strings.Contains(s.output(), "ready to serve client requests"); time.Sleep(5 * time.Millisecond) {
			if time.Since(begun) > readyLimit {
				s.need(errors.New("the one that has the directory is not ready"))
			}
		}
		s.need(os.Truncate(s.logs+"/err", 0))
	}
	lets := func(signal syscall.Signal) func(*scene) { return func(s *scene) { s.holder(signal) } }
	return []startLine{
		{name: "a directory that another server has", before: hold, waits: true},
		{name: "a directory that another server leaves", before: hold, waits: true, whileWaiting: lets(syscall.SIGTERM), then: keys},
		{name: "a directory that a killed server leaves", before: hold, waits: true, whileWaiting: lets(syscall.SIGKILL), then: keys},
		{name: "told to end while it waits for the directory", before: hold, waits: true, whileWaiting: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
		}},
	}
}
