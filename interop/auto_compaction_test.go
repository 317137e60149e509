package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Both servers compact what is older than a period, of themselves, and never what is younger.
func TestAutoCompactionByTime(t *testing.T) {
	const period = 2 * time.Second
	for name, bin := range map[string]string{"etcd": tool(t, "etcd"), "ours": ours(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			s := start(t, bin, dir, freePorts(t), "--auto-compaction-retention="+period.String())
			written := map[int64]time.Time{}
			poll(t, 30*time.Second, func() error {
				put, err := s.client.Put(ctx(t), "k", "v")
				if err != nil {
					t.Fatal(err)
				}
				written[put.Header.Revision] = time.Now()
				if _, err := s.client.Get(ctx(t), "k", clientv3.WithRev(3)); !errors.Is(err, rpctypes.ErrCompacted) {
					return fmt.Errorf("revision 3 is still there: %v", err)
				}
				return nil
			})
			if age := time.Since(written[3]); age < period {
				t.Errorf("revision 3 was compacted after %v", age)
			}
			log, err := os.ReadFile(dir + ".log")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(log), "completed auto periodic compaction") {
				t.Error("the log does not tell of the compaction")
			}
		})
	}
}

// What neither server takes for a retention, and what both do.
func TestAutoCompactionIsReadAlike(t *testing.T) {
	for _, c := range []struct {
		args []string
		runs bool
	}{
		{[]string{"--auto-compaction-retention=x"}, false},
		{[]string{"--auto-compaction-retention=-1"}, false},
		{[]string{"--auto-compaction-mode=foo"}, false},
		{[]string{"--auto-compaction-retention=", "--auto-compaction-mode=revision"}, true},
		{[]string{"--auto-compaction-retention=1000", "--auto-compaction-mode=revision"}, true},
	} {
		for name, bin := range map[string]string{"etcd": tool(t, "etcd"), "ours": ours(t)} {
			t.Run(fmt.Sprint(name, c.args), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				if c.runs {
					start(t, bin, dir, freePorts(t), c.args...).stop()
					return
				}
				out, err := exec.CommandContext(ctx(t), bin, append(c.args, "--data-dir="+dir)...).CombinedOutput()
				if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("it ends with %v:\n%s", err, out)
				}
			})
		}
	}
}
