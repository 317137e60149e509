package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's side of sd_notify(3).
type manager struct {
	t      testing.TB
	name   string
	socket *net.UnixConn
}

// newManager listens at a path, or under a name of Linux's own where `name` begins with @.
func newManager(t testing.TB, name string) *manager {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { socket.Close() })
	return &manager{t, name, socket}
}

// hears is the next message.
func (m *manager) hears() string {
	m.t.Helper()
	must(m.t, m.socket.SetReadDeadline(time.Now().Add(20*time.Second)))
	bytes := make([]byte, 4096)
	n, err := m.socket.Read(bytes)
	must(m.t, err)
	return string(bytes[:n])
}

// until waits for a message.
func (m *manager) until(message string) {
	m.t.Helper()
	for !slices.Contains(strings.Split(m.hears(), "\n"), message) {
	}
}

// launchUnder starts a server with these variables.
func launchUnder(t testing.TB, bin string, variables ...string) *process {
	t.Helper()
	return launchProcess(t, bin, append([]string{"env"}, variables...))
}

// TestSystemdHearsThatTheMemberServes: both servers tell it first of all, and only when they serve.
func TestSystemdHearsThatTheMemberServes(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		for _, name := range []string{filepath.Join(t.TempDir(), "n"), fmt.Sprintf("@holdfast-%d", os.Getpid())} {
			m := newManager(t, name)
			p := launchUnder(t, bin, "NOTIFY_SOCKET="+name)
			if first := m.hears(); first != "READY=1" {
				t.Errorf("%s says %q first", bin, first)
			}
			must(t, p.answers())
			must(t, p.cmd.Process.Signal(syscall.SIGTERM))
			if bin == ours(t) {
				m.until("STOPPING=1")
			}
			if how := p.ending(15 * time.Second); how != "signal 15" {
				t.Errorf("%s: %s", bin, how)
			}
			m.socket.Close()
		}
	}
}

// TestSystemdThatIsNotThere: both servers say so and go on.
func TestSystemdThatIsNotThere(t *testing.T) {
	for _, bin := range []string{ours(t), tool(t, "etcd")} {
		p := launchUnder(t, bin, "NOTIFY_SOCKET=/nonexistent/notify")
		untilSaid(t, p.log, "failed to notify systemd for readiness")
		p.goesOn()
		for _, line := range logLines(t, p.log) {
			if line.message == "failed to notify systemd for readiness" && line.level != "error" {
				t.Errorf("%s says it at level %s", bin, line.level)
			}
		}
	}
}

// TestSystemdIsNotToldBeforeTheMemberServes: one that waits for its cluster says nothing.
func TestSystemdIsNotToldBeforeTheMemberServes(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "n"))
	p := launchProcess(t, ours(t), []string{"env", "NOTIFY_SOCKET=" + m.name},
		"--initial-cluster=m=http://127.0.0.1:1,n=http://127.0.0.1:2", "--initial-advertise-peer-urls=http://127.0.0.1:1")
	untilSaid(t, p.log, "serving peer traffic")
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if said := m.hears(); said != "STOPPING=1" {
		t.Errorf("it says %q first", said)
	}
}

// TestSystemdsWatchdog hears of a member that lives, again and again, unless the watchdog is another's.
func TestSystemdsWatchdog(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "n"))
	own := []string{"sh", "-c", `WATCHDOG_PID=$$ exec "$0" "$@"`}
	for _, before := range [][]string{own, {"env", "-u", "WATCHDOG_PID"}} {
		variables := []string{"env", "NOTIFY_SOCKET=" + m.name, "WATCHDOG_USEC=400000"}
		p := launchProcess(t, ours(t), append(variables, before...))
		m.until("READY=1")
		since := time.Now()
		for range 5 {
			m.until("WATCHDOG=1")
		}
		if took := time.Since(since); took < 600*time.Millisecond {
			t.Errorf("five signs of life came within %v", took)
		}
		must(t, p.cmd.Process.Signal(syscall.SIGTERM))
		m.until("STOPPING=1")
		m.until("STATUS=stopping")
	}
	p := launchUnder(t, ours(t), "NOTIFY_SOCKET="+m.name, "WATCHDOG_USEC=200000", "WATCHDOG_PID=1")
	m.until("READY=1")
	must(t, p.answers())
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	for {
		switch said := m.hears(); said {
		case "WATCHDOG=1":
			t.Fatal("it answers another's watchdog")
		case "STATUS=stopping":
			return
		}
	}
}
