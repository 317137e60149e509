package interop

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// etcNetns has a directory for each namespace whose files stand for those of /etc there.
const etcNetns = "/etc/netns"

// names is a name server in the clients' namespace, for all of them. Services are below a domain, as
// in _etcd-server._tcp.example.test; whatever is below broken.test makes it fail.
type names struct {
	mu       sync.Mutex
	services map[string][]target
	hosts    map[string]string
}

// target is where a service is. Those with a lower rank come first.
type target struct {
	rank uint16
	host string
	port uint16
}

// resolve starts a name server, and has all namespaces that are there ask it.
func (s *netns) resolve() *names {
	s.t.Helper()
	d := &names{services: map[string][]target{}, hosts: map[string]string{}}
	address := net.JoinHostPort(netnsAddress(clientNumber), "53")
	var packets net.PacketConn
	var streams net.Listener
	err := s.inside(clientNumber, func() (err error) {
		if packets, err = net.ListenPacket("udp4", address); err == nil {
			streams, err = net.Listen("tcp4", address)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		packets.Close()
		streams.Close()
	})
	go d.servePackets(packets)
	go d.serveStreams(streams)
	text := []byte("nameserver " + netnsAddress(clientNumber) + "\n")
	s.t.Cleanup(func() {
		removeNames(s.prefix)
	})
	for number := clientNumber; number < firstMemberNumber+s.members; number++ {
		dir := filepath.Join(etcNetns, s.name(number))
		// Another test may remove the directory above when it is empty.
		poll(s.t, 10*time.Second, func() error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "resolv.conf"), text, 0o644)
		})
	}
	return d
}

// removeNames removes what resolve has left in /etc.
func removeNames(prefix string) {
	found, _ := filepath.Glob(filepath.Join(etcNetns, prefix+"*"))
	for _, dir := range found {
		_ = os.RemoveAll(dir)
	}
	// It stays while there is something in it.
	_ = os.Remove(etcNetns)
}

// host gives a name to a namespace.
func (d *names) host(name string, number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[name] = netnsAddress(number)
}

// service says where one is; it replaces what was said before.
func (d *names) service(name string, targets ...target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services[name] = targets
}

func (d *names) servePackets(packets net.PacketConn) {
	query := make([]byte, 4096)
	for {
		n, from, err := packets.ReadFrom(query)
		if err != nil {
			return
		}
		if answer, err := d.answer(query[:n]); err == nil {
			_, _ = packets.WriteTo(answer, from)
		}
	}
}

func (d *names) serveStreams(streams net.Listener) {
	for {
		conn, err := streams.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if answer, err := d.answer(query); err == nil {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		}()
	}
}

// answer is what the server says to a query.
func (d *names) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	bodies, code := d.find(q)
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, Authoritative: true, RecursionDesired: head.RecursionDesired,
			RecursionAvailable: true, RCode: code,
		},
		Questions: []dnsmessage.Question{q},
	}
	for _, body := range bodies {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: body})
	}
	return m.Pack()
}

// find is what is known under a name.
func (d *names) find(q dnsmessage.Question) (bodies []dnsmessage.ResourceBody, code dnsmessage.RCode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if strings.HasSuffix(name, "broken.test") {
		return nil, dnsmessage.RCodeServerFailure
	}
	code = dnsmessage.RCodeNameError
	if targets, known := d.services[name]; known {
		code = dnsmessage.RCodeSuccess
		for _, target := range targets {
			if q.Type == dnsmessage.TypeSRV {
				host := dnsmessage.MustNewName(target.host + ".")
				bodies = append(bodies, &dnsmessage.SRVResource{Priority: target.rank, Weight: 1, Port: target.port, Target: host})
			}
		}
	}
	for host, address := range d.hosts {
		ip := net.ParseIP(address).To4()
		switch pointer := fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]); {
		case name == host:
			code = dnsmessage.RCodeSuccess
			if q.Type == dnsmessage.TypeA {
				bodies = append(bodies, &dnsmessage.AResource{A: [4]byte(ip)})
			}
		case name == pointer:
			code = dnsmessage.RCodeSuccess
			if q.Type == dnsmessage.TypePTR {
				bodies = append(bodies, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(host + ".")})
			}
		}
	}
	return bodies, code
}

// Each namespace has the name server, and the files for it go with the test.
func TestNetnsHasNames(t *testing.T) {
	t.Parallel()
	var made []string
	t.Run("asked", func(t *testing.T) {
		s := newNetns(t)
		one := s.add()
		d := s.resolve()
		d.host("m.example.test", one)
		made, _ = filepath.Glob(filepath.Join(etcNetns, s.prefix+"*"))
		if len(made) != 2 {
			t.Errorf("made %q", made)
		}
		for _, number := range []int{clientNumber, one} {
			got := run(t, "ip", "netns", "exec", s.name(number), "getent", "ahostsv4", "m.example.test")
			if !strings.HasPrefix(got, netnsAddress(one)+" ") {
				t.Errorf("got %q", got)
			}
		}
	})
	for _, dir := range made {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}
