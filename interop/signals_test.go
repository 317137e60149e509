package interop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// process is a server of which only the process matters.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string
	log    string
	exited chan struct{}
}

// startProcess starts a server behind these words, which may be none, and waits until it is ready.
func startProcess(t testing.TB, bin string, before []string, more ...string) *process {
	t.Helper()
	p := launchProcess(t, bin, before, more...)
	untilSaid(t, p.log, "successfully notified init daemon")
	return p
}

func launchProcess(t testing.TB, bin string, before []string, more ...string) *process {
	t.Helper()
	dir, at := filepath.Join(t.TempDir(), "m"), freePorts(t)
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", at.client), fmt.Sprintf("http://127.0.0.1:%d", at.peer)
	words := append(append([]string{}, before...), bin,
		"--name=m", "--data-dir="+dir, "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=m="+peer)
	p := &process{t: t, url: client, log: dir + ".log", exited: make(chan struct{})}
	p.cmd = exec.Command(words[0], append(words[1:], more...)...)
	// A group of its own has this test's as its parent's. Where nobody of the session is parent to a
	// group, the system lets its members not be stopped by a terminal's signals.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	launch(t, p.cmd, p.log)
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// ending is how a process ended: by which signal, or with which status.
func (p *process) ending(limit time.Duration) string {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		return "it still runs"
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return fmt.Sprintf("signal %d", status.Signal())
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}

// state is the letter that the system has for what the process does: T where it is stopped.
func (p *process) state() string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return "gone"
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

// answers tells whether the server does.
func (p *process) answers() error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(p.url + "/health")
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

// goesOn checks that a server serves after a signal: had it ended it, it would be ended when the call
// that sends it returns.
func (p *process) goesOn() {
	p.t.Helper()
	for range 2 {
		must(p.t, p.answers())
	}
	must(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	if how := p.ending(15 * time.Second); how != "signal 15" {
		p.t.Errorf("after SIGTERM: %s", how)
	}
}

// stops checks that a server is stopped, and goes on when it is told to.
func (p *process) stops() {
	p.t.Helper()
	poll(p.t, 10*time.Second, func() error {
		if state := p.state(); state != "T" {
			return fmt.Errorf("its state is %s", state)
		}
		return nil
	})
	must(p.t, p.cmd.Process.Signal(syscall.SIGCONT))
	p.goesOn()
}

// What signals do to both servers, and where they differ, to etcd's.
const (
	goesOn = "goes on"
	stops  = "stops"
)

type signalRow struct {
	signal       syscall.Signal
	ours, theirs string
}

func signalRows() []signalRow {
	rows := []signalRow{
		{syscall.SIGHUP, "signal 1", ""},
		{syscall.SIGINT, "signal 2", ""},
		{syscall.SIGTERM, "signal 15", ""},
		{syscall.SIGTSTP, stops, ""},
		{syscall.SIGTTIN, stops, ""},
		{syscall.SIGTTOU, stops, ""},
		// Go prints all goroutines and ends with status 2.
		{syscall.SIGQUIT, "signal 3", "status 2"},
		{syscall.SIGILL, "signal 4", "status 2"},
		{syscall.SIGTRAP, "signal 5", "status 2"},
		{syscall.SIGABRT, "signal 6", "status 2"},
		{syscall.SIGBUS, "signal 7", "status 2"},
		{syscall.SIGFPE, "signal 8", "status 2"},
		{syscall.SIGSTKFLT, "signal 16", "status 2"},
		{syscall.SIGSYS, "signal 31", "status 2"},
		{syscall.SIGSEGV, "signal 11", "status 2"},
		// A signal that Go's runtime leaves to the C library.
		{34, goesOn, "signal 34"},
	}
	for _, signal := range []syscall.Signal{
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGCHLD, syscall.SIGCONT,
		syscall.SIGURG, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGVTALRM, syscall.SIGPROF, syscall.SIGWINCH,
		syscall.SIGIO, syscall.SIGPWR, 35, 36, 40, 50, 63, 64,
	} {
		rows = append(rows, signalRow{signal, goesOn, ""})
	}
	return rows
}

// TestSignalsAsEtcd sends every kind of signal to both servers.
func TestSignalsAsEtcd(t *testing.T) {
	own, reference := ours(t), tool(t, "etcd")
	for _, row := range signalRows() {
		if row.theirs == "" {
			row.theirs = row.ours
		}
		check := func(bin, want string) func(*testing.T) {
			return func(t *testing.T) {
				p := startProcess(t, bin, nil)
				must(t, p.cmd.Process.Signal(row.signal))
				switch want {
				case goesOn:
					p.goesOn()
				case stops:
					p.stops()
				default:
					if how := p.ending(15 * time.Second); how != want {
						t.Errorf("%s, not %s", how, want)
					}
				}
			}
		}
		t.Run(fmt.Sprintf("%d/Ours", row.signal), check(own, row.ours))
		t.Run(fmt.Sprintf("%d/Etcd", row.signal), check(reference, row.theirs))
	}
}

// TestSignalsThatTheParentBlocked starts both servers by a thread that blocks all signals.
func TestSignalsThatTheParentBlocked(t *testing.T) {
	for name, bin := range map[string]string{"Ours": ours(t), "Etcd": tool(t, "etcd")} {
		for _, row := range signalRows() {
			want := row.ours
			if name == "Etcd" && row.theirs != "" {
				want = row.theirs
			}
			switch row.signal {
			case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGBUS:
				t.Run(fmt.Sprintf("%d/%s", row.signal, name), func(t *testing.T) {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					var all, before unix.Sigset_t
					for i := range all.Val {
						all.Val[i] = ^all.Val[i]
					}
					must(t, unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before))
					p := launchProcess(t, bin, nil)
					must(t, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
					untilSaid(t, p.log, "successfully notified init daemon")
					must(t, p.cmd.Process.Signal(row.signal))
					if how := p.ending(15 * time.Second); how != want {
						t.Errorf("%s, not %s", how, want)
					}
				})
			}
		}
	}
}

// TestPortsThatTheSystemChose: a listener on port 0 is told of with the port that it got, by both servers, and
// what is advertised stays as it was written.
func TestPortsThatTheSystemChose(t *testing.T) {
	for name, bin := range map[string]string{"Ours": ours(t), "Etcd": tool(t, "etcd")} {
		t.Run(name, func(t *testing.T) {
			any := "http://127.0.0.1:0"
			p := startProcess(t, bin, nil, "--listen-client-urls="+any, "--advertise-client-urls="+any,
				"--listen-peer-urls="+any, "--initial-advertise-peer-urls="+any, "--listen-metrics-urls="+any,
				"--initial-cluster=m="+any)
			must(t, p.cmd.Process.Signal(syscall.SIGTERM))
			p.ending(15 * time.Second)
			text, err := os.ReadFile(p.log)
			must(t, err)
			for _, line := range []string{"serving peer traffic", "stopped serving peer traffic",
				"serving client traffic insecurely; this is strongly discouraged!"} {
				at := regexp.MustCompile(`"msg":"` + regexp.QuoteMeta(line) + `"[^}]*"address":"127\.0\.0\.1:([0-9]+)"`)
				found := at.FindSubmatch(text)
				if found == nil || string(found[1]) == "0" {
					t.Errorf("%q has no port: %q", line, found)
				}
			}
			for _, said := range []string{`"advertise-client-urls":["http://127.0.0.1:0"]`,
				`"msg":"serving metrics","address":"http://127.0.0.1:0"`} {
				if !strings.Contains(string(text), said) {
					t.Errorf("the log has no %s", said)
				}
			}
		})
	}
}

// TestTheLogShowsNoPasswordOfAURL starts a member all of whose URLs hold one.
func TestTheLogShowsNoPasswordOfAURL(t *testing.T) {
	any := "http://root:s3cret@127.0.0.1:0"
	p := startProcess(t, ours(t), nil, "--listen-client-urls="+any, "--advertise-client-urls="+any,
		"--listen-peer-urls="+any, "--initial-advertise-peer-urls="+any, "--listen-metrics-urls="+any,
		"--initial-cluster=m="+any)
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.ending(15 * time.Second)
	text, err := os.ReadFile(p.log)
	must(t, err)
	if strings.Contains(string(text), "s3cret") || strings.Count(string(text), "root:xxxxx@") < 10 {
		t.Errorf("the log shows a password, or too little:\n%s", text)
	}
}

// TestDefaultHostAsEtcd: both servers advertise the same where they listen everywhere and nothing is said of it.
func TestDefaultHostAsEtcd(t *testing.T) {
	said := map[string]string{}
	at := freePorts(t)
	for name, bin := range map[string]string{"Ours": ours(t), "Etcd": tool(t, "etcd")} {
		dir := t.TempDir()
		file := filepath.Join(dir, "c.yml")
		text := fmt.Sprintf("name: m\ndata-dir: %s/m\nlisten-client-urls: http://0.0.0.0:%d\n"+
			"listen-peer-urls: http://0.0.0.0:%d\n", dir, at.client, at.peer)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		cmd := exec.Command(bin, "--config-file="+file)
		log := filepath.Join(dir, "log")
		launch(t, cmd, log)
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		untilSaid(t, log, "now serving peer/client/metrics")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, line := range logLines(t, log) {
			if strings.Contains(line.message, "default host") {
				said[name] += fmt.Sprintln(line.message)
			}
		}
		all, err := os.ReadFile(log)
		must(t, err)
		for _, field := range []string{"initial-advertise-peer-urls", "advertise-client-urls", "initial-cluster", "host"} {
			found := regexp.MustCompile(`"` + field + `":(\[[^]]*\]|"[^"]*")`).FindSubmatch(all)
			if found != nil {
				said[name] += fmt.Sprintf("%s %s\n", field, found[1])
			}
		}
	}
	if said["Ours"] != said["Etcd"] || said["Ours"] == "" {
		t.Errorf("ours:\n%s\netcd's:\n%s", said["Ours"], said["Etcd"])
	}
}

// TestSignalsWhileStartingAndStopping: a server that waits for its cluster ends at once, one whose starter
// ignores HUP goes on, a second signal does not cut short what the first one began.
func TestSignalsWhileStartingAndStopping(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		waits := launchProcess(t, bin, nil, "--initial-cluster=m=http://127.0.0.1:1,n=http://127.0.0.1:2",
			"--initial-advertise-peer-urls=http://127.0.0.1:1")
		untilSaid(t, waits.log, "serving peer traffic")
		must(t, waits.cmd.Process.Signal(syscall.SIGTERM))
		if how := waits.ending(5 * time.Second); how != "signal 15" {
			t.Errorf("%s: while it waits for its cluster: %s", bin, how)
		}
		nohup := startProcess(t, bin, []string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`})
		must(t, nohup.cmd.Process.Signal(syscall.SIGHUP))
		nohup.goesOn()
		twice := startProcess(t, bin, nil)
		must(t, twice.cmd.Process.Signal(syscall.SIGINT))
		must(t, twice.cmd.Process.Signal(syscall.SIGINT))
		if how := twice.ending(15 * time.Second); how != "signal 2" {
			t.Errorf("%s: after two signals: %s", bin, how)
		}
		said := logLines(t, twice.log)
		if last := said[len(said)-1]; last.message != "closed etcd server" {
			t.Errorf("%s: after two signals its last word is %q", bin, last.message)
		}
	}
}

// TestLogsNobodyReadsStopNobody: a member whose log goes into a pipe that nobody reads, or that was closed,
// or onto a full disk, serves on.
func TestLogsNobodyReadsStopNobody(t *testing.T) {
	for _, output := range []string{"stderr", "stdout"} {
		for _, closed := range []bool{false, true} {
			read, write, err := os.Pipe()
			must(t, err)
			p := pipedProcess(t, write, "--log-outputs="+output, "--log-level=debug")
			if closed {
				must(t, read.Close())
			} else {
				t.Cleanup(func() { read.Close() })
			}
			floodLog(t, p)
			p.goesOn()
		}
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		p := pipedProcess(t, nil, "--log-outputs=/dev/full")
		floodLog(t, p)
		p.goesOn()
	}
}

func pipedProcess(t testing.TB, out *os.File, more ...string) *process {
	t.Helper()
	dir, at := filepath.Join(t.TempDir(), "m"), freePorts(t)
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", at.client), fmt.Sprintf("http://127.0.0.1:%d", at.peer)
	args := append([]string{
		"--name=m", "--data-dir=" + dir, "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=m=" + peer,
	}, more...)
	p := &process{t: t, url: client, exited: make(chan struct{})}
	p.cmd = exec.Command(ours(t), args...)
	if out != nil {
		p.cmd.Stdout, p.cmd.Stderr = out, out
	}
	must(t, p.cmd.Start())
	if out != nil {
		must(t, out.Close())
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	poll(t, 20*time.Second, p.answers)
	return p
}

// floodLog has a server log more than a pipe takes: two lines for each database that a client is sent.
func floodLog(t testing.TB, p *process) {
	t.Helper()
	c := dialURL(t, p.url)
	for range 400 {
		snapshotTo(t, c, io.Discard)
	}
}

func dialURL(t testing.TB, url string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{url}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
