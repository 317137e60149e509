package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// startSecure starts a member with an https client URL; `believes` is a client that it lets in.
func startSecure(t testing.TB, bin, dir string, p ports, believes *tls.Config, args ...string) *server {
	t.Helper()
	s := &server{t: t, url: fmt.Sprintf("https://127.0.0.1:%d", p.client)}
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.peer)
	s.cmd = exec.Command(bin, append([]string{
		"--name=m", "--data-dir=" + dir, "--listen-client-urls=" + s.url, "--advertise-client-urls=" + s.url,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=m=" + peer,
	}, args...)...)
	launch(t, s.cmd, dir+".log")
	t.Cleanup(s.kill)
	poll(t, 30*time.Second, func() error { return askTLS(s.url, believes.Clone()) })
	s.client = s.dial(believes)
	return s
}

func (s *server) dial(config *tls.Config) *clientv3.Client {
	s.t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.url}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), TLS: config.Clone(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// serving is what a server needs to serve by TLS, and whom it asks for certificates.
func serving(a *authority, p keyPair, more ...string) []string {
	return append([]string{"--cert-file=" + p.cert, "--key-file=" + p.key}, more...)
}

var here = []string{"127.0.0.1", "localhost"}

// Go's client and plain HTTP go through TLS: small and large, streams, both ways, many at once.
func TestTLSClients(t *testing.T) {
	a := newAuthority(t, "ca")
	p := a.issue("server", leaf{cn: "server", hosts: here})
	client := a.issue("client", leaf{cn: "client", usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for _, how := range [][]string{{"--client-cert-auth", "--trusted-ca-file=" + a.ca}, {}, {"--tls-max-version=TLS1.2"}, {"--tls-min-version=TLS1.3"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			s := startSecure(t, ours(t), t.TempDir()+"/d", freePorts(t), a.config(client), serving(a, p, how...)...)
			mixedLoad(t, s, 1, 100)
			watched, cancel := context.WithCancel(ctx(t))
			defer cancel()
			events := s.client.Watch(watched, "big", clientv3.WithPrefix())
			value := strings.Repeat("0123456789abcdef", 60_000)
			for i := range 20 {
				if _, err := s.client.Put(ctx(t), fmt.Sprintf("big%02d", i), value); err != nil {
					t.Fatal(err)
				}
			}
			for seen := 0; seen < 20; {
				resp, ok := <-events
				if !ok || resp.Err() != nil {
					t.Fatalf("the watch ended after %d events: %v", seen, resp.Err())
				}
				for _, event := range resp.Events {
					if string(event.Kv.Value) != value {
						t.Fatal("an event has another value")
					}
				}
				seen += len(resp.Events)
			}
			got, err := s.client.Get(ctx(t), "big", clientv3.WithPrefix())
			if err != nil || len(got.Kvs) != 20 || string(got.Kvs[19].Value) != value {
				t.Fatalf("20 large values came back as %d: %v", len(got.Kvs), err)
			}
			snapshot, err := s.client.Snapshot(ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, snapshot); err != nil || n < 19_000_000 {
				t.Fatalf("a snapshot of %d bytes: %v", n, err)
			}
			for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
				transport := &http.Transport{TLSClientConfig: a.config(client), ForceAttemptHTTP2: protocol == "HTTP/2.0"}
				web := &http.Client{Transport: transport, Timeout: 10 * time.Second}
				for range 3 {
					resp, err := web.Get(s.url + "/metrics")
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.Proto != protocol || !bytes.Contains(body, []byte("etcd_server_has_leader 1")) {
						t.Errorf("%s %s, %d bytes: %v", resp.Proto, resp.Status, len(body), err)
					}
				}
				transport.CloseIdleConnections()
			}
			many := make(chan error, 40)
			for i := range cap(many) {
				go func() {
					c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.url}, TLS: a.config(client), Logger: zap.NewNop()})
					if err == nil {
						_, err = c.Put(ctx(t), fmt.Sprintf("many%d", i), "v")
						c.Close()
					}
					many <- err
				}()
			}
			for range cap(many) {
				if err := <-many; err != nil {
					t.Error(err)
				}
			}
			s.stop()
		})
	}
}

// talk opens a connection, says something inside and tells what came back first.
func talk(address string, config *tls.Config, text string) string {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", strings.TrimPrefix(address, "https://"), config)
	if err != nil {
		return words(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return words(err)
	}
	first := make([]byte, 12)
	n, err := io.ReadFull(conn, first)
	protocol := conn.ConnectionState().NegotiatedProtocol
	if protocol == "http/1.1" {
		// Go's server agrees without saying so.
		protocol = ""
	}
	if n > 0 && text[0] == 'P' && protocol == "h2" {
		return "h2: frames"
	}
	if n > 0 {
		err = nil
	}
	return fmt.Sprintf("%q: %q %s", protocol, first[:n], words(err))
}

// Who is refused on the client port, in what words, and what the log says of it: as etcd.
func TestTLSClientsAreRefusedAsByEtcd(t *testing.T) {
	a, foreign := newAuthority(t, "ca"), newAuthority(t, "another")
	shows := func(from *authority, l leaf) func() *tls.Config {
		return func() *tls.Config { return a.config(from.issue("attempt", l)) }
	}
	host := []string{"client.example"}
	attempts := []struct {
		name   string
		config func() *tls.Config
	}{
		{"as it should be", shows(a, leaf{cn: "c", hosts: host})},
		{"no certificate", func() *tls.Config { return a.config() }},
		{"an unknown authority", shows(foreign, leaf{cn: "c", hosts: host})},
		{"another host", shows(a, leaf{cn: "c", hosts: []string{"other.example"}})},
		{"no host", shows(a, leaf{cn: "client.example"})},
		{"too old", shows(a, leaf{cn: "c", hosts: host, notAfter: time.Now().Add(-time.Hour)})},
		{"for servers only", shows(a, leaf{cn: "c", hosts: host, usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})},
		{"believes another", func() *tls.Config { return foreign.config() }},
	}
	revoked := a.issue("revoked", leaf{cn: "c", hosts: host})
	list := a.revoke(revoked)
	get := "GET /version HTTP/1.1\r\nHost: h\r\n\r\n"
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	said, logged := map[byte][]string{}, map[byte][]string{}
	for i, kind := range []byte("oe") {
		p := a.issue("server", leaf{cn: "server", hosts: here})
		good := a.issue("good", leaf{cn: "c", hosts: host})
		dir := filepath.Join(t.TempDir(), "d")
		s := startSecure(t, bins(t, "oe")[i], dir, freePorts(t), a.config(good), serving(a, p,
			"--client-cert-auth", "--trusted-ca-file="+a.ca, "--client-cert-allowed-hostname=x.example,client.example",
			"--client-crl-file="+list)...)
		tell := func(name, what string) { said[kind] = append(said[kind], name+": "+what) }
		for _, attempt := range attempts {
			config := attempt.config()
			tell(attempt.name, words(askTLS(s.url, config)))
			client, err := clientv3.New(clientv3.Config{
				Endpoints: []string{s.url}, TLS: attempt.config(), Logger: zap.NewNop(),
			})
			if err == nil {
				limited, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				_, err = client.Get(limited, "k")
				cancel()
				client.Close()
			}
			tell(attempt.name+", by gRPC", words(err))
		}
		tell("revoked", words(askTLS(s.url, a.config(revoked))))
		for _, protocols := range [][]string{nil, {"http/1.1"}, {"h2"}, {"h2", "http/1.1"}, {"http/1.1", "h2"}, {"foo"}, {"foo", "http/1.1"}} {
			for name, text := range map[string]string{"HTTP/1": get, "HTTP/2": preface} {
				if name == "HTTP/1" && len(protocols) > 0 && strings.Contains(fmt.Sprint(protocols), "h2") {
					// What was agreed on is not spoken.
					continue
				}
				config := a.config(good)
				config.NextProtos = protocols
				if name == "HTTP/2" && !strings.Contains(fmt.Sprint(protocols), "h2") {
					name = "~HTTP/2"
				}
				what := talk(s.url, config, text)
				if strings.HasPrefix(name, "~") && !strings.Contains(what, "h2: frames") {
					// etcd says that the request is bad, ours says nothing.
					what = "refused"
				}
				said[kind] = append(said[kind], fmt.Sprintf("%q %s: %s", protocols, name, what))
			}
		}
		resp, err := http.Get(strings.Replace(s.url, "https://", "http://", 1) + "/version")
		if err == nil {
			resp.Body.Close()
			err = errors.New(resp.Status)
		}
		tell("without TLS", words(err))
		time.Sleep(100 * time.Millisecond)
		logged[kind] = rejections(dir+".log", "client")
		s.kill()
	}
	slices.Sort(said['o'])
	slices.Sort(said['e'])
	compare(t, "what is told", said['o'], said['e'])
	compare(t, "what is logged", logged['o'], logged['e'])
	if !strings.Contains(strings.Join(said['e'], "\n"), "as it should be, by gRPC: fine") {
		t.Errorf("nobody was let in: %q", said['e'])
	}
}

// A certificate that is renewed is shown to the next client; so is one that the server made itself.
func TestTLSClientCertificatesAreRenewed(t *testing.T) {
	a, next := newAuthority(t, "ca"), newAuthority(t, "next")
	p := a.issue("server", leaf{cn: "server", hosts: here})
	client := a.issue("client", leaf{cn: "client"})
	dir, at := t.TempDir()+"/d", freePorts(t)
	list := a.revoke()
	s := startSecure(t, ours(t), dir, at, a.config(client), serving(a, p, "--trusted-ca-file="+a.ca, "--client-crl-file="+list)...)
	renewed := a.issue("server", leaf{cn: "server", hosts: here})
	if got := shown(t, s.url, a.config(client)); got.Cmp(renewed.serial) != 0 {
		t.Errorf("certificate %v is shown, not %v", got, renewed.serial)
	}
	// Who is connected stays.
	if _, err := s.client.Put(ctx(t), "k", "v"); err != nil {
		t.Error(err)
	}
	a.revoke(client)
	if said := words(askTLS(s.url, a.config(client))); said != "cut" {
		t.Errorf("a revoked certificate: %s", said)
	}
	// The authority changes: etcd needs a restart for that.
	stranger := next.issue("stranger", leaf{cn: "stranger"})
	if err := askTLS(s.url, a.config(stranger)); err == nil {
		t.Error("a stranger was let in")
	}
	writePEM(t, a.ca, "CERTIFICATE", next.cert.Raw)
	if err := askTLS(s.url, a.config(stranger)); err != nil {
		t.Errorf("the new authority is not believed: %v", err)
	}
	s.stop()

	anyone := &tls.Config{InsecureSkipVerify: true}
	s = startSecure(t, ours(t), dir, at, anyone, "--auto-tls")
	own := shown(t, s.url, anyone)
	s.stop()
	for _, bin := range bins(t, "eo") {
		s = startSecure(t, bin, dir, at, anyone, "--auto-tls")
		if got := shown(t, s.url, anyone); got.Cmp(own) != 0 {
			t.Errorf("%s made another certificate", bin)
		}
		s.stop()
	}
}

// Both etcdctls against both servers.
func TestTLSEtcdctl(t *testing.T) {
	a, foreign := newAuthority(t, "ca"), newAuthority(t, "another")
	p := a.issue("server", leaf{cn: "server", hosts: here})
	client := a.issue("client", leaf{cn: "client"})
	other := foreign.issue("other", leaf{cn: "other"})
	ca, cert, key := "--cacert="+a.ca, "--cert="+client.cert, "--key="+client.key
	quick := "--command-timeout=300ms"
	lines := [][]string{
		{ca, cert, key, "put", "k", "v"},
		{ca, cert, key, "get", "k"},
		{ca, cert, key, "member", "list", "--write-out=simple"},
		{ca, cert, key, "endpoint", "health", "--cluster"},
		{"--insecure-skip-tls-verify", cert, key, "get", "k"},
		{"--insecure-skip-tls-verify", cert, key, "--insecure-transport=false", "get", "k"},
		{ca, cert, "get", "k"},
		{ca, key, "get", "k"},
		{"--cacert=" + a.dir + "/none", cert, key, "get", "k"},
		{ca, "--cert=" + a.dir + "/none", key, "get", "k"},
		{ca, cert, "--key=" + other.key, "get", "k"},
		{ca, quick, "get", "k"},
		{cert, key, quick, "get", "k"},
		{quick, "get", "k"},
		{"--cacert=" + foreign.ca, cert, key, quick, "get", "k"},
		{ca, "--cert=" + other.cert, "--key=" + other.key, quick, "get", "k"},
		{"--cacert=" + foreign.ca, cert, key, quick, "endpoint", "health"},
	}
	for i, bin := range bins(t, "oe") {
		s := startSecure(t, bin, t.TempDir()+"/d", freePorts(t), a.config(client), serving(a, p, "--client-cert-auth", "--trusted-ca-file="+a.ca)...)
		bare := strings.TrimPrefix(s.url, "https://")
		for _, endpoint := range []string{s.url, bare, "http://" + bare} {
			for n, line := range lines {
				if strings.HasPrefix(endpoint, "http:") {
					// Every one of them waits in vain.
					if n%4 != 0 {
						continue
					}
					line = append([]string{quick}, line...)
				}
				want := ctl(t, tool(t, "etcdctl"), endpoint, "", line...)
				got := ctl(t, oursCtl(t), endpoint, "", line...)
				if want != got {
					t.Errorf("server %d, %s %v\nours %+v\netcd %+v", i, endpoint, line, got, want)
				}
			}
		}
		s.kill()
	}
}

// What is wrong with flags is told as etcd tells it.
func TestTLSClientFlagsAreRefusedAsByEtcd(t *testing.T) {
	a := newAuthority(t, "ca")
	p := a.issue("p", leaf{cn: "p"})
	cert, key := "--cert-file="+p.cert, "--key-file="+p.key
	cases := [][]string{
		{},
		{cert},
		{cert, "--key-file=" + a.dir + "/none.key"},
		{cert, key, "--trusted-ca-file=" + a.dir + "/none"},
		{cert, key, "--client-cert-file=" + p.cert},
		{cert, key, "--cipher-suites=TLS_NONE"},
		{"--auto-tls", "--self-signed-cert-validity=0"},
	}
	for _, args := range cases {
		var said [2]string
		for i, bin := range bins(t, "oe") {
			url := fmt.Sprintf("https://127.0.0.1:%d", freePort(t))
			peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
			said[i] = ended(t, exec.Command(bin, append([]string{
				"--data-dir=" + t.TempDir() + "/m", "--listen-client-urls=" + url, "--advertise-client-urls=" + url,
				"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
			}, args...)...))
		}
		if said[0] != said[1] {
			t.Errorf("%q\nours %s\netcd %s", args, said[0], said[1])
		}
	}
}

// A cluster comes together through a discovery service that speaks TLS, of either kind.
func TestTLSDiscovery(t *testing.T) {
	a := newAuthority(t, "ca")
	p := a.issue("server", leaf{cn: "server", hosts: here})
	client := a.issue("client", leaf{cn: "client"})
	for _, bin := range bins(t, "oe") {
		s := startSecure(t, bin, t.TempDir()+"/d", freePorts(t), a.config(client), serving(a, p, "--client-cert-auth", "--trusted-ca-file="+a.ca)...)
		if _, err := s.client.Put(ctx(t), "/_etcd/registry/t/_config/size", "2"); err != nil {
			t.Fatal(err)
		}
		c := newCluster(t, bins(t, "oe"), "--discovery-token=t", "--discovery-endpoints="+s.url,
			"--discovery-cacert="+a.ca, "--discovery-cert="+client.cert, "--discovery-key="+client.key)
		for _, n := range c.nodes {
			n.initial, n.discovers = "", true
		}
		c.start().works()
		for _, n := range c.nodes {
			n.kill()
		}
		s.kill()
	}
}

// Keys of RSA, and authorities for which others vouch.
func TestTLSChainsAndKeys(t *testing.T) {
	root := newAuthority(t, "root")
	below := root.delegate("below").delegate("far below")
	for _, l := range []leaf{{cn: "rsa", hosts: here, rsa: true}, {cn: "ecdsa", hosts: here}} {
		p := below.issue("server", l)
		l.hosts = nil
		client := below.issue("client", l)
		s := startSecure(t, ours(t), t.TempDir()+"/d", freePorts(t), root.config(client), serving(below, p, "--trusted-ca-file="+root.ca)...)
		old := root.config(client)
		old.MaxVersion = tls.VersionTLS12
		if _, err := s.dial(old).Put(ctx(t), "k", "v"); err != nil {
			t.Error(err)
		}
		got := ctl(t, oursCtl(t), s.url, "", "--cacert="+root.ca, "--cert="+client.cert, "--key="+client.key, "get", "k")
		if got.stdout != "k\nv\n" {
			t.Errorf("%s: %+v", l.cn, got)
		}
		s.kill()
	}
}

// Whoever connects and says nothing is not kept for long, on either port, and keeps nobody out.
func TestTLSHandshakesAreLimitedInTime(t *testing.T) {
	a := newAuthority(t, "ca")
	c := newSecureCluster(t, "o")
	n := c.nodes[0]
	p := a.issue("server", leaf{cn: "m", hosts: []string{"127.0.0.1", c.host}})
	n.client = strings.Replace(n.client, "http://", "https://", 1)
	n.args = append(mutual(a, p), serving(a, p)...)
	n.launch()
	poll(t, 20*time.Second, func() error { return askTLS(n.client, a.config()) })
	began := time.Now()
	var silent []net.Conn
	for _, address := range []string{n.client, n.peer} {
		for range 300 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(address, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			silent = append(silent, conn)
		}
	}
	for _, address := range []string{n.client, n.peer} {
		if err := askTLS(address, a.config(p)); err != nil {
			t.Errorf("%s is kept busy: %v", address, err)
		}
	}
	for _, conn := range silent {
		_ = conn.SetReadDeadline(began.Add(15 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
	}
	if took := time.Since(began); took < 8*time.Second {
		t.Errorf("they were closed after %v", took)
	}
	for _, where := range []string{"client", "peer"} {
		if said := strings.Join(rejections(n.dir+".log", where), "\n"); !strings.Contains(said, "i/o timeout") {
			t.Errorf("%s: %q", where, said)
		}
	}
}
