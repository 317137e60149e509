package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// network is what lies between the members of a cluster: a proxy before each peer port. Who dials
// is known from the first request of a connection, so each direction between two members can be
// stopped or slowed by itself. What is stopped is kept, as TCP would, or lost with its connection.
type network struct {
	t testing.TB

	mu      sync.Mutex
	changed *sync.Cond
	// names gives a member's name for its id in hex, or its proxy's address.
	names   map[string]string
	blocked map[[2]string]bool
	delay   time.Duration
	closed  bool
	open    map[net.Conn]bool
	// databases counts the snapshots that passed.
	databases int
}

func newNetwork(t testing.TB) *network {
	n := &network{t: t, names: map[string]string{}, blocked: map[[2]string]bool{}, open: map[net.Conn]bool{}}
	n.changed = sync.NewCond(&n.mu)
	t.Cleanup(func() {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		n.changed.Broadcast()
		n.reset()
	})
	return n
}

// proxy listens at an address for the member behind another, and gives its URL.
func (n *network) proxy(address, url string) string {
	n.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	target := strings.TrimPrefix(url, "http://")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go n.serve(conn, address, target)
		}
	}()
	return "http://" + address
}

// know tells which member has an id and sits behind a proxy.
func (n *network) know(name, id, url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[id], n.names[strings.TrimPrefix(url, "http://")] = name, name
}

func (n *network) serve(dialer net.Conn, address, target string) {
	n.keep(dialer, true)
	defer n.keep(dialer, false)
	head, from, err := readHead(dialer)
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	n.keep(server, true)
	defer n.keep(server, false)
	done := make(chan struct{}, 2)
	go func() {
		n.pump(server, io.MultiReader(bytes.NewReader(head), dialer), from, address)
		done <- struct{}{}
	}()
	go func() { n.pump(dialer, server, address, from); done <- struct{}{} }()
	<-done
}

// readHead reads the first request's head and the sender's id in it.
func readHead(conn net.Conn) ([]byte, string, error) {
	var head []byte
	buffer := make([]byte, 4096)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		if len(head) > 1<<20 {
			return nil, "", errors.New("the head is too long")
		}
		got, err := conn.Read(buffer)
		if err != nil {
			return nil, "", err
		}
		head = append(head, buffer[:got]...)
	}
	from := ""
	for _, line := range strings.Split(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "X-Server-From") {
			from = strings.TrimSpace(value)
		}
	}
	return head, from, nil
}

func (n *network) pump(to io.Writer, from io.Reader, sender, receiver string) {
	buffer := make([]byte, 64<<10)
	for {
		got, err := from.Read(buffer)
		if got > 0 {
			if bytes.Contains(buffer[:got], []byte("POST /raft/snapshot HTTP")) {
				n.mu.Lock()
				n.databases++
				n.mu.Unlock()
			}
			if !n.pass(sender, receiver) {
				return
			}
			if _, err := to.Write(buffer[:got]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until a direction is open.
func (n *network) pass(sender, receiver string) bool {
	n.mu.Lock()
	delay := n.delay
	for n.blocked[[2]string{n.names[sender], n.names[receiver]}] && !n.closed {
		n.changed.Wait()
	}
	closed := n.closed
	n.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	return !closed
}

func (n *network) keep(conn net.Conn, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if open {
		n.open[conn] = true
	} else {
		delete(n.open, conn)
		conn.Close()
	}
}

// reset closes every connection: what was on its way is lost.
func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.open {
		conn.Close()
	}
}

// stop lets nothing pass from one member to another.
func (n *network) stop(from, to *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]string{from.name, to.name}] = true
}

// isolate cuts a member off from these others.
func (n *network) isolate(one *node, others []*node) {
	for _, other := range others {
		if other != one {
			n.stop(one, other)
			n.stop(other, one)
		}
	}
}

// slow delays whatever passes.
func (n *network) slow(delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

// heal opens all directions.
func (n *network) heal() {
	n.mu.Lock()
	n.blocked, n.delay = map[[2]string]bool{}, 0
	n.mu.Unlock()
	n.changed.Broadcast()
}
