package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netnsPrefix begins the name of every network namespace made here; the process id follows.
const netnsPrefix = "holdfast-"

// switchNumber and clientNumber are the namespaces with the bridge and the clients; members come
// after them.
const (
	switchNumber = iota
	clientNumber
	firstMemberNumber
	netnsMax = 20
)

// netnsSweep ends the processes in the namespaces with a prefix and removes them, and their files.
const netnsSweep = `for ns in $(ip netns list | grep -o "^$0[^ ]*"); do
	for pid in $(ip netns pids "$ns"); do kill -9 "$pid"; done
	ip netns del "$ns"
done 2>/dev/null
rm -rf /etc/netns/"$0"*
rmdir /etc/netns 2>/dev/null; :`

var netnsSets atomic.Int64

// netns is a network of its own: a namespace for the clients and one for each member, joined by a
// bridge, which is in a namespace as well. Packets are dropped where they arrive, without an
// answer.
type netns struct {
	t       testing.TB
	prefix  string
	members int
	// dropping has the rules of each namespace.
	dropping map[int][]string
	// slowed has the devices whose rate is limited, with their namespaces.
	slowed map[[2]string]bool
	// cables has the members' lines where they are long, and usual what these are when all is well.
	cables map[int]*cable
	usual  line
}

// newNetns makes the bridge and the clients' namespace. All of it goes when the test ends, also
// when this process is killed: a shell waits for that.
func newNetns(t testing.TB) *netns {
	t.Helper()
	needNetns(t)
	removeStaleNetns()
	prefix := fmt.Sprintf("%s%d-%d-", netnsPrefix, os.Getpid(), netnsSets.Add(1))
	s := &netns{t: t, prefix: prefix, dropping: map[int][]string{}, slowed: map[[2]string]bool{}}
	sweeper := exec.Command("sh", "-c", "cat; "+netnsSweep, prefix)
	sweeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	alive, err := sweeper.StdinPipe()
	if err == nil {
		err = sweeper.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		alive.Close()
		_ = sweeper.Wait()
	})
	if out, err := exec.Command("ip", "netns", "add", s.name(switchNumber)).CombinedOutput(); err != nil {
		lacks(t, fmt.Sprintf("network namespaces cannot be made: %v %s", err, out))
	}
	s.ip(switchNumber, "link add bridge type bridge", "link set bridge up")
	s.join(clientNumber)
	return s
}

// needNetns skips the test where namespaces cannot be made.
func needNetns(t testing.TB) {
	t.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, program := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = program + " (iproute2)"
		}
	}
	if missing != "" {
		lacks(t, "network namespaces need "+missing)
	}
}

// lacks skips a test for want of something, or fails it where nothing may be skipped.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("HOLDFAST_REQUIRE") != "" {
		t.Fatal(what)
	}
	t.Skip("skipped: " + what)
}

// removeStaleNetns removes what processes left that are gone.
func removeStaleNetns() {
	found, _ := filepath.Glob("/run/netns/" + netnsPrefix + "*")
	for _, path := range found {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), netnsPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && syscall.Kill(n, 0) == syscall.ESRCH {
			_ = exec.Command("sh", "-c", netnsSweep, netnsPrefix+pid+"-").Run()
		}
	}
}

func (s *netns) name(number int) string { return s.prefix + strconv.Itoa(number) }

func netnsAddress(number int) string { return fmt.Sprintf("10.77.0.%d", number) }

func netnsMAC(number int) string { return fmt.Sprintf("02:00:00:00:00:%02x", number) }

// add makes the next member's namespace.
func (s *netns) add() int {
	s.t.Helper()
	number := firstMemberNumber + s.members
	s.members++
	if number > netnsMax {
		s.t.Fatalf("more than %d namespaces", netnsMax)
	}
	s.join(number)
	return number
}

// join makes a namespace and plugs it into the bridge. Everybody's hardware address is known to it,
// and the rules that drop packets have room before the local ones.
func (s *netns) join(number int) {
	s.t.Helper()
	run(s.t, "ip", "netns", "add", s.name(number))
	port := "port" + strconv.Itoa(number)
	if s.cables != nil {
		s.plug(number)
	} else {
		s.ip(switchNumber, "link add "+port+" type veth peer name eth0 address "+netnsMAC(number)+" netns "+s.name(number))
	}
	s.ip(switchNumber, "link set "+port+" master bridge up")
	lines := []string{
		"link set lo up", "addr add " + netnsAddress(number) + "/24 dev eth0", "link set eth0 up",
		"rule add prio 100 lookup local", "rule del prio 0",
	}
	for other := clientNumber; other <= netnsMax; other++ {
		if other != number {
			lines = append(lines, "neigh add "+netnsAddress(other)+" lladdr "+netnsMAC(other)+" nud permanent dev eth0")
		}
	}
	s.ip(number, lines...)
}

// ip runs several of its commands in a namespace.
func (s *netns) ip(number int, lines ...string) {
	s.t.Helper()
	cmd := exec.Command("ip", "-n", s.name(number), "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("ip %q: %v\n%s", lines, err, out)
	}
}

// drop makes hosts lose all packets that come from others.
func (s *netns) drop(to, from []int) {
	s.t.Helper()
	for _, receiver := range to {
		var lines []string
		for _, sender := range from {
			if sender != receiver {
				rule := "from " + netnsAddress(sender) + " prio 10 blackhole"
				lines = append(lines, "rule add "+rule)
				s.dropping[receiver] = append(s.dropping[receiver], "rule del "+rule)
			}
		}
		if len(lines) > 0 {
			s.ip(receiver, lines...)
		}
	}
}

// part drops all packets between two sides.
func (s *netns) part(one, other []int) {
	s.t.Helper()
	s.drop(one, other)
	s.drop(other, one)
}

// slow limits what a host sends and receives to this many kbit/s; more waits in a queue.
func (s *netns) slow(number, kbits int) {
	s.t.Helper()
	for _, end := range [][2]string{{s.name(number), "eth0"}, {s.name(switchNumber), "port" + strconv.Itoa(number)}} {
		run(s.t, "tc", "-n", end[0], "qdisc", "add", "dev", end[1], "root", "tbf",
			"rate", fmt.Sprintf("%dkbit", kbits), "burst", "4kb", "limit", "1mb")
		s.slowed[end] = true
	}
}

// heal lets all packets pass at full speed, over lines as long as they usually are.
func (s *netns) heal() {
	s.t.Helper()
	for number, lines := range s.dropping {
		s.ip(number, lines...)
	}
	for end := range s.slowed {
		run(s.t, "tc", "-n", end[0], "qdisc", "del", "dev", end[1], "root")
	}
	s.dropping, s.slowed = map[int][]string{}, map[[2]string]bool{}
	for number := range s.cables {
		s.stretch(number, s.usual)
	}
}

// inside does something in a namespace: sockets that it makes belong there.
func (s *netns) inside(number int, do func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	there, err := os.Open("/run/netns/" + s.name(number))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	failed := do()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		// The thread stays locked and ends with its goroutine.
		return err
	}
	runtime.UnlockOSThread()
	return failed
}

// dial connects from the clients' namespace.
func (s *netns) dial(limited context.Context, address string) (conn net.Conn, err error) {
	err = s.inside(clientNumber, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(limited, "tcp", address)
		return err
	})
	return conn, err
}

// web is an HTTP client in the clients' namespace.
func (s *netns) web() *http.Client {
	dial := func(limited context.Context, _, address string) (net.Conn, error) { return s.dial(limited, address) }
	return &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   2 * time.Second,
	}
}

// packets are sockets for packets in namespaces.
func (s *netns) packets(numbers ...int) map[int]*net.UDPConn {
	s.t.Helper()
	sockets := map[int]*net.UDPConn{}
	for _, number := range numbers {
		err := s.inside(number, func() (err error) {
			sockets[number], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(netnsAddress(number)), Port: 9})
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = sockets[number].Close() })
	}
	return sockets
}

// What is dropped is dropped one way, without an answer, and nothing else is.
func TestNetnsDropsPackets(t *testing.T) {
	t.Parallel()
	s := newNetns(t)
	one, two := s.add(), s.add()
	sockets := s.packets(one, two)
	send := func(from, to int, text string) {
		t.Helper()
		if _, err := sockets[from].WriteTo([]byte(text), &net.UDPAddr{IP: net.ParseIP(netnsAddress(to)), Port: 9}); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(number int, limit time.Duration, want string) error {
		buffer := make([]byte, 100)
		_ = sockets[number].SetReadDeadline(time.Now().Add(limit))
		for {
			got, _, err := sockets[number].ReadFrom(buffer)
			if text := string(buffer[:got]); err != nil || text == "dropped" {
				return fmt.Errorf("got %q and %v, not %q", text, err, want)
			} else if text == want {
				return nil
			}
		}
	}
	// The bridge may need a moment to find its ports.
	poll(t, 10*time.Second, func() error {
		send(one, two, "first")
		return hears(two, 100*time.Millisecond, "first")
	})
	s.drop([]int{two}, []int{one})
	send(one, two, "dropped")
	send(two, one, "back")
	if err := hears(one, 10*time.Second, "back"); err != nil {
		t.Fatal(err)
	}
	s.heal()
	s.slow(one, 100)
	send(one, two, "healed")
	if err := hears(two, 10*time.Second, "healed"); err != nil {
		t.Error(err)
	}
	s.heal()
}

// A process that is killed leaves nothing behind.
func TestNetnsGoesWithItsProcess(t *testing.T) {
	t.Parallel()
	needNetns(t)
	if os.Getenv("HOLDFAST_NETNS_CHILD") != "" {
		s := newNetns(t)
		s.add()
		s.resolve()
		fmt.Println("made", s.prefix)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestNetnsGoesWithItsProcess$")
	child.Env = append(os.Environ(), "HOLDFAST_NETNS_CHILD=1")
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	prefix := ""
	if _, err := fmt.Fscanf(out, "made %s\n", &prefix); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		found, _ := filepath.Glob("/run/netns/" + prefix + "*")
		files, _ := filepath.Glob(filepath.Join(etcNetns, prefix+"*"))
		return len(found) + len(files)
	}
	if left() != 5 {
		t.Errorf("%d namespaces and directories for them, not 5", left())
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	poll(t, 20*time.Second, func() error {
		if n := left(); n > 0 {
			return fmt.Errorf("%d namespaces and directories for them are left", n)
		}
		return nil
	})
}
