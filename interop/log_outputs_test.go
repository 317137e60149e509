package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logged is what a server wrote to its standard output, its standard error and two files.
type logged struct{ stdout, stderr, first, second string }

// logsTo runs a server until it serves, and stops it.
func logsTo(t testing.TB, bin string, flags ...string) logged {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for i := range flags {
		flags[i] = strings.NewReplacer("FIRST", file("first"), "SECOND", file("second")).Replace(flags[i])
	}
	shell := []string{"sh", "-c", `out=$1; err=$2; shift 2; exec "$@" >"$out" 2>"$err"`, "sh", file("stdout"), file("stderr")}
	p := launchProcess(t, bin, shell, flags...)
	poll(t, 20*time.Second, p.answers)
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if how := p.ending(15 * time.Second); how != "signal 15" {
		t.Errorf("%s %v: %s", bin, flags, how)
	}
	text := func(name string) string {
		text, _ := os.ReadFile(file(name))
		return string(text)
	}
	return logged{text("stdout"), text("stderr"), text("first"), text("second")}
}

// where names the places that hold a whole log.
func (l logged) where() (all []string) {
	for _, place := range []struct{ name, text string }{
		{"stdout", l.stdout}, {"stderr", l.stderr}, {"first", l.first}, {"second", l.second},
	} {
		if place.text != "" {
			all = append(all, place.name)
		}
	}
	return all
}

// TestLogOutputsAsEtcd: the same names lead both servers' logs to the same places, whole.
func TestLogOutputsAsEtcd(t *testing.T) {
	for outputs, want := range map[string][]string{
		"default":             {"stderr"},
		"stderr":              {"stderr"},
		"stdout":              {"stdout"},
		"stdout,stderr":       {"stdout", "stderr"},
		"stdout,stdout":       {"stdout"},
		"FIRST":               {"first"},
		"FIRST,SECOND,stdout": {"stdout", "first", "second"},
		"file://FIRST":        {"first"},
		"/dev/null,stderr":    nil,
	} {
		for _, bin := range []string{ours(t), tool(t, "etcd")} {
			said := logsTo(t, bin, "--log-outputs="+outputs)
			if where := said.where(); !slices.Equal(where, want) {
				t.Errorf("%s --log-outputs=%s logs to %v, not %v", bin, outputs, where, want)
			}
			for _, text := range []string{said.stdout, said.stderr, said.first, said.second} {
				if text != "" && !strings.Contains(text, "closed etcd server") {
					t.Errorf("%s --log-outputs=%s: a log is not whole:\n%s", bin, outputs, text)
				}
			}
		}
	}
}

// TestLogRefusalsAsEtcd: what neither server takes is refused with the same status and words.
func TestLogRefusalsAsEtcd(t *testing.T) {
	for _, flag := range []string{
		"--log-outputs=/nonexistent/x.log", "--log-outputs=/tmp", "--log-outputs=default,stderr",
		"--log-outputs=foo://x", "--log-outputs=", "--log-format=xml",
	} {
		var refusals []string
		for _, bin := range []string{tool(t, "etcd"), ours(t)} {
			cmd := exec.Command(bin, "--data-dir="+filepath.Join(t.TempDir(), "m"), flag)
			out, _ := cmd.CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			last := parseLine(t, lines[len(lines)-1])
			text, _ := last.fields["error"].(string)
			refusals = append(refusals, strings.Join([]string{last.level, last.message, text}, "|"))
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("%s %s exits with %d", bin, flag, code)
			}
		}
		if refusals[0] != refusals[1] {
			t.Errorf("%s: etcd says %q, ours %q", flag, refusals[0], refusals[1])
		}
	}
}

var consoleLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})\t(debug|info|warn|error)\t([a-z0-9.-]+\t)?[^\t/]+/[^\t/]+\.(go|rs):\d+\t[^\t]*(\t\{".*\})?$`)

// TestLogConsoleAsEtcd: for the console both servers write columns, with the fields behind them.
func TestLogConsoleAsEtcd(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		said := logsTo(t, bin, "--log-format=console", "--log-outputs=stdout")
		count := 0
		for _, line := range strings.Split(strings.TrimSpace(said.stdout), "\n") {
			// Go adds its stacks.
			if strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "go.") || line == "" {
				continue
			}
			count++
			if !consoleLine.MatchString(line) {
				t.Errorf("%s writes %q", bin, line)
			}
		}
		if count < 20 {
			t.Errorf("%s writes %d lines only", bin, count)
		}
		if !strings.Contains(said.stdout, `"advertise-client-urls": ["http://`) {
			t.Errorf("%s writes fields otherwise:\n%s", bin, said.stdout)
		}
	}
}

// TestLogLevelsAsEtcd: nothing below the level is written, and at the level of `fatal` nothing at all.
func TestLogLevelsAsEtcd(t *testing.T) {
	levels := []string{"debug", "info", "warn", "error"}
	for least, level := range append(levels, "dpanic", "fatal") {
		for _, bin := range []string{ours(t), tool(t, "etcd")} {
			said := logsTo(t, bin, "--log-level="+level, "--log-outputs=FIRST")
			for _, text := range strings.Split(strings.TrimSpace(said.first), "\n") {
				if text == "" {
					continue
				}
				if line := parseLine(t, text); slices.Index(levels, line.level) < least {
					t.Errorf("%s --log-level=%s writes %s", bin, level, text)
				}
			}
			hasAny := said.first != ""
			if level == "info" && !hasAny || least > 3 && hasAny {
				t.Errorf("%s --log-level=%s writes %q", bin, level, said.first)
			}
		}
	}
}

// TestLogsHoldNoSecrets: neither a password of the command line nor one of a URL is written down.
func TestLogsHoldNoSecrets(t *testing.T) {
	const secret = "s3cr3t-word"
	cmd := exec.Command(ours(t), "--data-dir="+filepath.Join(t.TempDir(), "m"), "--log-level=debug",
		"--discovery-token=t", "--discovery-endpoints=http://127.0.0.1:1", "--discovery-dial-timeout=100ms",
		"--discovery-request-timeout=100ms", "--discovery-user=u", "--discovery-password="+secret)
	out := startToFile(t, cmd)
	untilSaid(t, out, "starting an etcd server")
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	text, err := os.ReadFile(out)
	must(t, err)
	if strings.Contains(string(text), secret) {
		t.Errorf("the log shows a password:\n%s", text)
	}
}

func startToFile(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	launch(t, cmd, path)
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return path
}
