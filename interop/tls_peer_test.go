package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// newSecureCluster describes a cluster whose members reach each other by https.
func newSecureCluster(t testing.TB, kinds string, args ...string) *cluster {
	t.Helper()
	c := newCluster(t, bins(t, kinds), args...)
	for _, n := range c.nodes {
		n.peer = strings.Replace(n.peer, "http://", "https://", 1)
		n.listenPeer = n.peer
	}
	for _, n := range c.nodes {
		n.initial = c.initial()
	}
	return c
}

// mutual has members show each other certificates.
func mutual(a *authority, p keyPair, more ...string) []string {
	return append([]string{
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + a.ca,
		"--peer-cert-file=" + p.cert, "--peer-key-file=" + p.key,
	}, more...)
}

// anywhere is what a certificate of a member of any test cluster is for.
func anywhere(c *cluster, cn string) leaf {
	return leaf{cn: cn, hosts: []string{"127.0.0.1", "localhost", c.host}}
}

// works has every member take a write that every other one then has.
func (c *cluster) works() {
	c.t.Helper()
	for i, n := range c.nodes {
		client := c.dial(n)
		key := fmt.Sprintf("k%d-%d", i, time.Now().UnixNano())
		poll(c.t, 20*time.Second, func() error {
			_, err := client.Put(short(c.t), key, "v")
			return err
		})
		for _, other := range c.nodes {
			reader := c.dial(other)
			poll(c.t, 20*time.Second, func() error {
				got, err := reader.Get(short(c.t), key)
				if err == nil && len(got.Kvs) != 1 {
					err = fmt.Errorf("%s has no %s", other.name, key)
				}
				return err
			})
			reader.Close()
		}
		client.Close()
	}
}

// askTLS sends a request to a port by TLS and tells what became of it.
func askTLS(address string, config *tls.Config) error {
	transport := &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: 5 * time.Second}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 8 * time.Second}
	resp, err := client.Get(strings.Replace(address, "http://", "https://", 1) + "/version")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// words is an error without what differs from run to run. Whoever is refused after the handshake
// sees the end of the connection in one of several ways.
func words(err error) string {
	if err == nil {
		return "fine"
	}
	text := err.Error()
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	if _, isCut := errors.AsType[*os.SyscallError](err); isCut || errors.Is(err, io.EOF) || strings.Contains(text, "reset by peer") || strings.Contains(text, "broken pipe") || strings.Contains(text, "malformed HTTP response") {
		return "cut"
	}
	text = regexp.MustCompile(`127\.[0-9.:]+`).ReplaceAllString(err.Error(), "A")
	return text
}

// rejections are the reasons in the log's lines about refused connections, once each.
func rejections(log, where string) []string {
	var all []string
	seen := map[string]bool{}
	text, _ := os.ReadFile(log)
	for _, line := range strings.Split(string(text), "\n") {
		var entry struct {
			Level, Msg, Error string
			RemoteAddr        string `json:"remote-addr"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "rejected connection on "+where+" endpoint" {
			continue
		}
		// What only Go says beside.
		bare := regexp.MustCompile(` \(possibly because of .*| on \d+\.\d+\.\d+\.\d+:\d+|: \[30\d\]$| \(\[.*\]\)$`).ReplaceAllString(entry.Error, "")
		reason := regexp.MustCompile(`(current time ).*|\d+\.\d+\.\d+\.\d+(:\d+)?|(serial )\w+`).ReplaceAllString(bare, "$1$3~")
		reason = entry.Level + ": " + reason
		if entry.RemoteAddr == "" {
			reason += " (from nowhere)"
		}
		if !seen[reason] {
			seen[reason] = true
			all = append(all, reason)
		}
	}
	return all
}

// Members of both kinds believe each other by their certificates, through crashes, joining and
// databases that are sent.
func TestTLSMixedClusters(t *testing.T) {
	for _, kinds := range []string{"oeo", "eoe"} {
		t.Run(kinds, func(t *testing.T) {
			a := newAuthority(t, "ca")
			c := newSecureCluster(t, kinds, "--snapshot-count=50", "--snapshot-catchup-entries=10")
			p := a.issue("member", anywhere(c, "m"))
			client := a.issue("client", leaf{cn: "m", hosts: []string{c.host, "127.0.0.1"}, usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			for _, n := range c.nodes {
				n.args = append(n.args, mutual(a, p, "--peer-cert-allowed-cn=x,m",
					"--peer-client-cert-file="+client.cert, "--peer-client-key-file="+client.key)...)
			}
			c.start().works()
			for _, n := range c.nodes {
				c.lead(n)
				c.works()
			}
			// One falls behind and gets a database.
			c.nodes[1].kill()
			writer := c.dial(c.nodes[0])
			for i := range 120 {
				if _, err := writer.Put(ctx(t), fmt.Sprintf("far%d", i), strings.Repeat("x", 1000)); err != nil {
					t.Fatal(err)
				}
			}
			c.nodes[1].start()
			c.works()
			// One more joins, of either kind.
			for _, bin := range bins(t, "oe") {
				n := c.newNode(bin)
				n.peer = strings.Replace(n.peer, "http://", "https://", 1)
				n.listenPeer, n.args = n.peer, c.nodes[0].args
				poll(t, 30*time.Second, func() error {
					_, err := c.dial(c.nodes...).MemberAdd(short(t), []string{n.peer})
					return err
				})
				c.nodes = append(c.nodes, n)
				n.initial, n.state = c.initial(), "existing"
				n.start()
			}
			c.works()
		})
	}
}

// Without certificates of their own, members make some and believe any. Those that etcd made are
// used by ours, and the other way round.
func TestTLSPeersMakeCertificates(t *testing.T) {
	c := newSecureCluster(t, "oeo", "--peer-auto-tls")
	c.start().works()
	programs := bins(t, "eoe")
	for i, n := range c.nodes {
		n.stop()
		n.bin = programs[i]
		n.start()
		c.works()
	}
	for _, n := range c.nodes {
		for _, file := range []string{"cert.pem", "key.pem"} {
			if err := isFile(filepath.Join(n.dir, "fixtures", "peer", file)); err != nil {
				t.Error(err)
			}
		}
	}
}

// Who is refused by a member, in what words, and what the log says of it: as etcd.
func TestTLSPeersAreRefusedAsByEtcd(t *testing.T) {
	a, other := newAuthority(t, "ca"), newAuthority(t, "ca")
	foreign := newAuthority(t, "another")
	// Where a name begins with ~, the alerts differ: rustls has others for very old clients.
	type attempt struct {
		name   string
		config func() *tls.Config
	}
	shows := func(from *authority, l leaf) func() *tls.Config {
		return func() *tls.Config { return a.config(from.issue("attempt", l)) }
	}
	home := []string{"127.0.0.1"}
	limited := func(change func(*tls.Config)) func() *tls.Config {
		return func() *tls.Config {
			config := shows(a, leaf{cn: "m", hosts: home})()
			change(config)
			return config
		}
	}
	attempts := []attempt{
		{"as it should be", shows(a, leaf{cn: "m", hosts: home})},
		{"no names", shows(a, leaf{cn: "m"})},
		{"a name of this address", shows(a, leaf{cn: "m", hosts: []string{"localhost"}})},
		{"no certificate", func() *tls.Config { return a.config() }},
		{"an unknown authority", shows(foreign, leaf{cn: "m", hosts: home})},
		{"an authority of the same name", shows(other, leaf{cn: "m", hosts: home})},
		{"another name", shows(a, leaf{cn: "n", hosts: home})},
		{"no name", shows(a, leaf{hosts: home})},
		{"another address", shows(a, leaf{cn: "m", hosts: []string{"10.9.8.7"}})},
		{"another host", shows(a, leaf{cn: "m", hosts: []string{"nowhere.invalid"}})},
		{"too old", shows(a, leaf{cn: "m", hosts: home, notAfter: time.Now().Add(-time.Hour)})},
		{"for servers only", shows(a, leaf{cn: "m", hosts: home, usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})},
		{"believes another", func() *tls.Config { return foreign.config(a.issue("attempt", leaf{cn: "m", hosts: home})) }},
		{"~an old version", limited(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 })},
		{"TLS 1.2", limited(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{"~TLS 1.2 without a certificate", func() *tls.Config { c := a.config(); c.MaxVersion = tls.VersionTLS12; return c }},
		{"TLS 1.2, another name", func() *tls.Config {
			c := shows(a, leaf{cn: "n", hosts: home})()
			c.MaxVersion = tls.VersionTLS12
			return c
		}},
	}
	told, logged := map[byte][]string{}, map[byte][]string{}
	for _, kind := range []byte("oe") {
		c := newSecureCluster(t, string(kind))
		// A name for which clients ask; the address differs from member to member.
		p := a.issue("member-"+string(kind), leaf{cn: "m", hosts: []string{"localhost", "127.0.0.1", c.host}})
		n := c.nodes[0]
		n.peer = strings.Replace(n.peer, c.host, "127.0.0.1", 1)
		n.listenPeer, n.initial = n.peer, n.name+"="+n.peer
		n.args = mutual(a, p, "--peer-cert-allowed-cn=m")
		n.start()
		for _, attempt := range attempts {
			said := words(askTLS(n.peer, attempt.config()))
			if strings.HasPrefix(attempt.name, "~") && said != "fine" {
				said = "refused with some alert"
			}
			told[kind] = append(told[kind], attempt.name+": "+said)
		}
		resp, err := http.Get(strings.Replace(n.peer, "https://", "http://", 1) + "/version")
		if err == nil {
			resp.Body.Close()
			err = errors.New(resp.Status)
		}
		told[kind] = append(told[kind], "without TLS: "+words(err))
		time.Sleep(100 * time.Millisecond)
		logged[kind] = rejections(n.dir+".log", "peer")
		n.kill()
	}
	compare(t, "what is told", told['o'], told['e'])
	compare(t, "what is logged", logged['o'], logged['e'])
	if !strings.Contains(strings.Join(told['e'], "\n"), "an unknown authority: tls: unknown certificate authority") {
		t.Errorf("nobody was refused: %q", told['e'])
	}
}

func compare(t testing.TB, what string, ours, theirs []string) {
	t.Helper()
	for i := range max(len(ours), len(theirs)) {
		var own, other string
		if i < len(ours) {
			own = ours[i]
		}
		if i < len(theirs) {
			other = theirs[i]
		}
		if own != other {
			t.Errorf("%s, line %d:\nours %s\netcd %s", what, i, own, other)
		}
	}
}

// A member with a certificate of another authority, or with another name, is not let into a
// cluster, whichever kind it and the others are.
func TestTLSStrangersStayOutside(t *testing.T) {
	a, foreign := newAuthority(t, "ca"), newAuthority(t, "another")
	for _, kinds := range []string{"oeo", "eoe"} {
		for _, how := range []string{"authority", "name"} {
			t.Run(kinds+" "+how, func(t *testing.T) {
				c := newSecureCluster(t, kinds)
				good := a.issue("good", anywhere(c, "m"))
				bad := a.issue("bad", anywhere(c, "n"))
				if how == "authority" {
					bad = foreign.issue("bad", anywhere(c, "m"))
				}
				for _, n := range c.nodes {
					n.args = mutual(a, good, "--peer-cert-allowed-cn=m")
				}
				stranger := c.nodes[2]
				stranger.args = mutual(a, bad)
				for _, n := range c.nodes {
					n.launch()
				}
				inside := &cluster{t: t, nodes: c.nodes[:2]}
				for _, n := range inside.nodes {
					n.await()
				}
				inside.works()
				// It may take the connection, and then has nothing to say.
				impatient := &http.Client{Timeout: 2 * time.Second}
				if resp, err := impatient.Get(stranger.client + "/health"); err == nil {
					resp.Body.Close()
					if resp.StatusCode == http.StatusOK {
						t.Error("the stranger is healthy")
					}
				}
				said := strings.Join(rejections(c.nodes[0].dir+".log", "peer"), "\n")
				want := "client certificate authentication failed"
				if how == "authority" {
					want = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
				}
				if !strings.Contains(said, want) {
					t.Errorf("%s says %q, not %q", c.nodes[0].bin, said, want)
				}
				// With a good one it is let in, without a restart of the others.
				stranger.kill()
				stranger.args = mutual(a, good, "--peer-cert-allowed-cn=m")
				stranger.start()
				c.works()
			})
		}
	}
}

// Renewed certificates are used, and revoked ones refused, without a restart.
func TestTLSPeerCertificatesAreRenewedAndRevoked(t *testing.T) {
	for _, kinds := range []string{"oeo", "eoe"} {
		t.Run(kinds, func(t *testing.T) {
			a := newAuthority(t, "ca")
			c := newSecureCluster(t, kinds)
			pairs := make([]keyPair, 3)
			for i, n := range c.nodes {
				pairs[i] = a.issue(n.name, anywhere(c, "m"))
				n.args = mutual(a, pairs[i], "--peer-crl-file="+a.revoke())
			}
			c.start().works()
			for i, n := range c.nodes {
				renewed := a.issue(n.name, anywhere(c, "m"))
				if got := shown(t, n.peer, a.config(renewed)); got.Cmp(renewed.serial) != 0 {
					t.Errorf("%s shows certificate %v, not %v", n.bin, got, renewed.serial)
				}
				pairs[i] = renewed
			}
			c.nodes[1].stop()
			c.nodes[1].start()
			c.works()
			a.revoke(pairs[2])
			c.nodes[2].kill()
			c.nodes[2].launch()
			inside := &cluster{t: t, nodes: c.nodes[:2]}
			inside.works()
			for _, n := range inside.nodes {
				poll(t, 20*time.Second, func() error {
					said := strings.Join(rejections(n.dir+".log", "peer"), "\n")
					if !strings.Contains(said, "transport: certificate serial ~ revoked") {
						return fmt.Errorf("%s says %q", n.bin, said)
					}
					return nil
				})
			}
			a.issue(c.nodes[2].name, anywhere(c, "m"))
			c.nodes[2].await()
			c.works()
		})
	}
}

// What is wrong with flags is told as etcd tells it, and ends the program as it does.
func TestTLSPeerFlagsAreRefusedAsByEtcd(t *testing.T) {
	a := newAuthority(t, "ca")
	p, q := a.issue("p", leaf{cn: "p"}), a.issue("q", leaf{cn: "q"})
	cert, key := "--peer-cert-file="+p.cert, "--peer-key-file="+p.key
	cases := [][]string{
		{},
		{cert},
		{cert, "--peer-key-file=" + a.dir + "/none.key"},
		{cert, "--peer-key-file=" + q.key},
		{cert, "--peer-key-file=" + p.cert},
		{"--peer-cert-file=" + p.key, key},
		{cert, key, "--peer-trusted-ca-file=" + a.dir + "/none"},
		{cert, key, "--peer-client-cert-file=" + p.cert},
		{cert, key, "--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"},
		{cert, key, "--cipher-suites=TLS_NONE"},
		{cert, key, "--tls-min-version=TLS1.0"},
		{cert, key, "--tls-max-version=new"},
		{cert, key, "--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"},
		{cert, key, "--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		{"--peer-auto-tls", "--self-signed-cert-validity=0"},
	}
	for _, args := range cases {
		var said [2]string
		for i, bin := range bins(t, "oe") {
			said[i] = lastWords(t, bin, args)
		}
		if said[0] != said[1] {
			t.Errorf("%q\nours %s\netcd %s", args, said[0], said[1])
		}
	}
}

// lastWords is the error that a server with an https peer URL ends with.
func lastWords(t testing.TB, bin string, args []string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	peer, client := freePort(t), freePort(t)
	url := fmt.Sprintf("https://127.0.0.1:%d", peer)
	cmd := exec.Command(bin, append([]string{
		"--data-dir=" + dir, "--listen-peer-urls=" + url, "--initial-advertise-peer-urls=" + url,
		"--initial-cluster=default=" + url, fmt.Sprintf("--listen-client-urls=http://127.0.0.1:%d", client),
		fmt.Sprintf("--advertise-client-urls=http://127.0.0.1:%d", client),
	}, args...)...)
	return ended(t, cmd)
}

// ended runs a server that should end by itself; what it said last, without what differs.
func ended(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	timer := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
	out, _ := cmd.CombinedOutput()
	timer.Stop()
	last := ""
	for _, line := range strings.Split(string(out), "\n") {
		var entry struct{ Level, Error string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Error != "" && entry.Level != "info" {
			last = entry.Error
		}
	}
	last = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(last, "A")
	return fmt.Sprintf("%s (code %d)", last, cmd.ProcessState.ExitCode())
}
