package interop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// node is one member of a cluster: where it lives, what runs there, and whether it does.
type node struct {
	t             testing.TB
	bin, name     string
	dir           string
	client, peer  string
	listenPeer    string
	args          []string
	env           []string
	initial       string
	state         string
	cmd           *exec.Cmd
	exited        chan struct{}
	startedBefore bool
	// number is that of its network namespace, if there are any.
	number int
	netns  *netns
	// discovers tells that the first members are not listed.
	discovers bool
}

// cluster is several members that know each other.
type cluster struct {
	t     testing.TB
	host  string
	dir   string
	made  int
	args  []string
	nodes []*node
	// behindProxies tells whether members reach each other through proxies.
	network *network
	// netns has a namespace for each member.
	netns *netns
}

var clusters atomic.Int64

// newCluster describes a cluster with one member for each program. Each cluster has an address of
// its own, so no outgoing connection ever takes a port of a member that is down.
func newCluster(t testing.TB, bins []string, args ...string) *cluster {
	t.Helper()
	pid, n := os.Getpid(), clusters.Add(1)
	c := &cluster{t: t, dir: t.TempDir(), args: args}
	c.host = fmt.Sprintf("127.%d.%d.%d", 1+pid>>8%250, pid&0xff, n)
	for _, bin := range bins {
		c.nodes = append(c.nodes, c.newNode(bin))
	}
	initial := c.initial()
	for _, n := range c.nodes {
		n.initial, n.state = initial, "new"
	}
	return c
}

func (c *cluster) newNode(bin string) *node {
	c.made++
	name := fmt.Sprintf("m%d", c.made)
	url := func(port int) string { return fmt.Sprintf("http://%s:%d", c.host, port) }
	n := &node{
		t: c.t, bin: bin, name: name, dir: filepath.Join(c.dir, name),
		client: url(20000 + c.made), peer: url(21000 + c.made), args: c.args,
	}
	if c.netns != nil {
		n.netns, n.number = c.netns, c.netns.add()
		n.client = fmt.Sprintf("http://%s:2379", netnsAddress(n.number))
		n.peer = fmt.Sprintf("http://%s:2380", netnsAddress(n.number))
	}
	n.listenPeer = n.peer
	if c.network != nil {
		n.peer = c.network.proxy(fmt.Sprintf("%s:%d", c.host, 22000+c.made), n.listenPeer)
	}
	return n
}

func (c *cluster) initial() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.name+"="+n.peer)
	}
	return strings.Join(all, ",")
}

// launch starts the process and does not wait for it.
func (n *node) launch() {
	n.t.Helper()
	args := []string{
		"--name=" + n.name, "--data-dir=" + n.dir,
		"--listen-client-urls=" + n.client, "--advertise-client-urls=" + n.client,
		"--listen-peer-urls=" + n.listenPeer, "--initial-advertise-peer-urls=" + n.peer,
		"--initial-cluster-state=" + n.state,
	}
	if !n.discovers {
		args = append(args, "--initial-cluster="+n.initial)
	}
	cmd := n.command(append(args, n.args...))
	cmd.Env = append(os.Environ(), n.env...)
	launch(n.t, cmd, n.dir+".log")
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	n.cmd, n.exited = cmd, exited
	if !n.startedBefore {
		n.startedBefore = true
		n.t.Cleanup(n.kill)
	}
}

// command starts the program where the member lives.
func (n *node) command(args []string) *exec.Cmd {
	if n.netns == nil {
		return exec.Command(n.bin, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", n.netns.name(n.number), n.bin}, args...)...)
}

// launch starts a process that appends to a log.
func launch(t testing.TB, cmd *exec.Cmd, path string) {
	t.Helper()
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// start starts the process and waits until it is healthy.
func (n *node) start() {
	n.t.Helper()
	n.launch()
	n.await()
}

func (n *node) await() {
	n.t.Helper()
	web := n.web()
	poll(n.t, 40*time.Second, func() error {
		if !n.runs() {
			return fatal{fmt.Errorf("%s (%s) ended by itself: %s", n.name, n.bin, n.tail())}
		}
		resp, err := web.Get(n.client + "/health")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s (%s) has health %s: %s", n.name, n.bin, resp.Status, n.tail())
		}
		return nil
	})
}

// web is an HTTP client that reaches the member.
func (n *node) web() *http.Client {
	if n.netns == nil {
		return http.DefaultClient
	}
	return n.netns.web()
}

// tail is the end of the member's log.
func (n *node) tail() string {
	text, _ := os.ReadFile(n.dir + ".log")
	return string(text[max(0, len(text)-4000):])
}

func (n *node) runs() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

func (n *node) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		<-n.exited
	}
}

func (n *node) stop() {
	n.t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	n.ended(20 * time.Second)
}

// ended waits until the process ends by itself.
func (n *node) ended(limit time.Duration) {
	n.t.Helper()
	select {
	case <-n.exited:
	case <-time.After(limit):
		n.t.Fatalf("%s (%s) still runs after %v: %s", n.name, n.bin, limit, n.tail())
	}
}

// start starts every member that does not run.
func (c *cluster) start() *cluster {
	c.t.Helper()
	for _, n := range c.nodes {
		if !n.runs() {
			n.launch()
		}
	}
	for _, n := range c.nodes {
		n.await()
	}
	return c
}

func (c *cluster) endpoints() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.client)
	}
	return all
}

// dial makes a client of these members, of all of them where none is named.
func (c *cluster) dial(nodes ...*node) *clientv3.Client {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.nodes
	}
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.client)
	}
	config := clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if c.netns != nil {
		config.DialOptions = []grpc.DialOption{grpc.WithContextDialer(c.netns.dial)}
	}
	client, err := clientv3.New(config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

// id is the member's id, as it tells itself.
func (c *cluster) id(n *node) uint64 {
	c.t.Helper()
	var id uint64
	client := c.dial(n)
	defer client.Close()
	poll(c.t, 15*time.Second, func() error {
		resp, err := client.Status(short(c.t), n.client)
		if err == nil {
			id = resp.Header.MemberId
		}
		return err
	})
	return id
}

// leader waits until all members that run agree on one, and gives it.
func (c *cluster) leader() *node {
	c.t.Helper()
	var leader *node
	poll(c.t, 30*time.Second, func() error {
		leader = nil
		agreed := uint64(0)
		for _, n := range c.nodes {
			if !n.runs() {
				continue
			}
			client := c.dial(n)
			resp, err := client.Status(short(c.t), n.client)
			client.Close()
			if err != nil {
				return err
			}
			if resp.Leader == 0 || agreed != 0 && agreed != resp.Leader {
				return fmt.Errorf("%s follows %x, others %x", n.name, resp.Leader, agreed)
			}
			agreed = resp.Leader
			if resp.Header.MemberId == agreed {
				leader = n
			}
		}
		if leader == nil {
			return fmt.Errorf("the leader %x does not run", agreed)
		}
		return nil
	})
	return leader
}

// lead makes this member lead.
func (c *cluster) lead(n *node) {
	c.t.Helper()
	target := c.id(n)
	poll(c.t, 40*time.Second, func() error {
		leader := c.leader()
		if leader == n {
			return nil
		}
		client := c.dial(leader)
		defer client.Close()
		_, err := client.MoveLeader(short(c.t), target)
		if err == nil {
			err = fmt.Errorf("%s does not lead yet", n.name)
		}
		return err
	})
}

// fatal is an error after which waiting is of no use.
type fatal struct{ error }

// poll repeats what may fail for a while.
func poll(t testing.TB, limit time.Duration, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if _, hopeless := err.(fatal); hopeless || time.Now().After(deadline) {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// short is a context for one call.
func short(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return c
}

// bins names programs: o is ours, e is etcd, 6 is the version of etcd before.
func bins(t testing.TB, kinds string) []string {
	t.Helper()
	own, reference := ours(t), tool(t, "etcd")
	var all []string
	for _, kind := range kinds {
		switch kind {
		case 'o':
			all = append(all, own)
		case '6':
			all = append(all, tool(t, "etcd36"))
		default:
			all = append(all, reference)
		}
	}
	return all
}
