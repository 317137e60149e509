package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// domain is where the members of these tests are found.
const domain = "example.test"

// secureClients is the port where members take clients by TLS, where they do.
const secureClients = 2378

// newDomainCluster describes a cluster whose members find each other by their domain's records for
// this service; suffix is what distinguishes it from others.
func newDomainCluster(t testing.TB, kinds, scheme, suffix string) (*cluster, *names) {
	t.Helper()
	c := newNetnsCluster(t, newNetns(t), kinds)
	d := c.netns.resolve()
	var targets []target
	for i, n := range c.nodes {
		host := n.name + "." + domain
		d.host(host, n.number)
		n.peer = fmt.Sprintf("%s://%s:2380", scheme, host)
		n.listenPeer = fmt.Sprintf("%s://%s:2380", scheme, netnsAddress(n.number))
		n.discovers, n.args = true, append(n.args, "--discovery-srv="+domain)
		targets = append(targets, target{uint16(i), host, 2380})
		if suffix != "" {
			n.args = append(n.args, "--discovery-srv-name="+suffix)
		}
	}
	d.service(srvName("etcd-server", scheme, suffix, domain), targets...)
	return c, d
}

func srvName(service, scheme, suffix, domain string) string {
	if scheme == "https" {
		service += "-ssl"
	}
	if suffix != "" {
		service += "-" + suffix
	}
	return "_" + service + "._tcp." + domain
}

// listed checks that every member knows all others by their names.
func (c *cluster) listed() {
	c.t.Helper()
	for _, n := range c.nodes {
		client := c.dial(n)
		poll(c.t, 20*time.Second, func() error {
			list, err := client.MemberList(short(c.t))
			if err != nil {
				return err
			}
			want := map[string]string{}
			for _, n := range c.nodes {
				want[n.name] = n.peer
			}
			for _, m := range list.Members {
				if len(m.PeerURLs) != 1 || want[m.Name] != m.PeerURLs[0] {
					return fmt.Errorf("%s lists %q with %q", n.name, m.Name, m.PeerURLs)
				}
				delete(want, m.Name)
			}
			if len(want) > 0 {
				return fmt.Errorf("%s does not list %v", n.name, want)
			}
			return nil
		})
		client.Close()
	}
}

// Members of either kind find each other by their domain's records.
func TestNetnsDiscoverySRV(t *testing.T) {
	t.Parallel()
	for _, each := range []struct{ kinds, suffix string }{{"ooo", ""}, {"eee", ""}, {"oeo", ""}, {"eoe", "blue"}} {
		t.Run(each.kinds+each.suffix, func(t *testing.T) {
			t.Parallel()
			c, d := newDomainCluster(t, each.kinds, "http", each.suffix)
			c.start().works()
			c.listed()
			// Whoever has data does not ask for the others.
			d.service(srvName("etcd-server", "http", each.suffix, domain))
			for _, n := range c.nodes {
				n.kill()
				n.start()
			}
			c.works()
		})
	}
}

// Without an authority of their own, members' certificates are for the domain.
func TestNetnsDiscoverySRVDomainCertificates(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"ooo", "eee", "oeo"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, "ca")
			c, _ := newDomainCluster(t, kinds, "https", "")
			p := a.issue("member", leaf{cn: "m", hosts: []string{domain}})
			for _, n := range c.nodes {
				n.args = append(n.args, "--peer-cert-file="+p.cert, "--peer-key-file="+p.key)
				n.env = []string{"SSL_CERT_FILE=" + a.ca}
			}
			c.start().works()
			c.listed()
		})
	}
	for _, kinds := range []string{"ooo", "eee"} {
		t.Run(kinds+" hosts only", func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, "ca")
			c, _ := newDomainCluster(t, kinds, "https", "")
			for _, n := range c.nodes {
				p := a.issue(n.name, leaf{cn: "m", hosts: []string{n.name + "." + domain}})
				n.args = append(n.args, "--peer-cert-file="+p.cert, "--peer-key-file="+p.key)
				n.env = []string{"SSL_CERT_FILE=" + a.ca}
				n.launch()
			}
			for i, n := range c.nodes {
				other := c.nodes[(i+1)%len(c.nodes)].name
				want := fmt.Sprintf("x509: certificate is valid for %s.%s, not %s", other, domain, domain)
				poll(t, 30*time.Second, func() error {
					said, err := os.ReadFile(n.dir + ".log")
					if err == nil && !strings.Contains(string(said), want) {
						err = fmt.Errorf("%s (%s) does not say %q: %s", n.name, n.bin, want, n.tail())
					}
					return err
				})
				if resp, err := n.web().Get(n.client + "/health"); err == nil {
					resp.Body.Close()
					if resp.StatusCode == 200 {
						t.Errorf("%s is healthy", n.name)
					}
				}
			}
		})
	}
}

// With an authority of their own, members' certificates are for their hosts, which the name server
// confirms: by their names, or by a pattern and the names of addresses.
func TestNetnsDiscoverySRVHostCertificates(t *testing.T) {
	t.Parallel()
	for _, each := range []struct {
		kinds   string
		pattern bool
	}{{"oeo", false}, {"ooo", true}, {"eoe", true}} {
		t.Run(fmt.Sprint(each.kinds, each.pattern), func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, "ca")
			c, d := newDomainCluster(t, each.kinds, "https", "")
			for _, n := range c.nodes {
				hosts := []string{domain, n.name + "." + domain}
				if each.pattern {
					hosts = []string{domain, "*." + domain}
				}
				n.args = append(n.args, mutual(a, a.issue(n.name, leaf{cn: "m", hosts: hosts}))...)
			}
			c.start().works()
			c.listed()
			for _, n := range c.nodes {
				n.kill()
				n.start()
			}
			c.works()
			// A member whose address has no such name is not let in.
			stranger := c.nodes[2]
			stranger.kill()
			d.host(stranger.name+"."+domain, firstMemberNumber)
			stranger.launch()
			inside := &cluster{t: t, netns: c.netns, nodes: c.nodes[:2]}
			inside.works()
			poll(t, 30*time.Second, func() error {
				for _, n := range inside.nodes {
					said := strings.Join(rejections(n.dir+".log", "peer"), "\n")
					if strings.Contains(said, "does not match any of DNSNames") {
						return nil
					}
				}
				return fmt.Errorf("nobody refuses it: %q, %q", rejections(c.nodes[0].dir+".log", "peer"), rejections(c.nodes[1].dir+".log", "peer"))
			})
		})
	}
}

// What is wrong with records is told as etcd tells it, and ends the program as it does.
func TestNetnsDiscoverySRVIsRefusedAsByEtcd(t *testing.T) {
	t.Parallel()
	s := newNetns(t)
	number := s.add()
	d := s.resolve()
	d.host("m."+domain, number)
	d.host("other."+domain, clientNumber)
	serve := func(name, scheme, host string) {
		d.service(srvName("etcd-server", scheme, "", name), target{1, host, 2380})
	}
	serve("others.test", "http", "other."+domain)
	serve("lost.test", "http", "lost."+domain)
	serve("secure.test", "https", "m."+domain)
	serve("mixed.test", "https", "m."+domain)
	serve("mixed.test", "http", "other."+domain)
	d.service(srvName("etcd-server", "http", "", "empty.test"))
	cases := []struct{ domain, peer string }{
		{"nowhere.test", "http://m." + domain + ":2380"},
		{"nowhere.test", "http://lost." + domain + ":2380"},
		{"broken.test", "http://m." + domain + ":2380"},
		{"others.test", "http://m." + domain + ":2380"},
		{"lost.test", "http://m." + domain + ":2380"},
		{"secure.test", "http://m." + domain + ":2380"},
		{"mixed.test", "http://m." + domain + ":2380"},
		{"empty.test", "http://m." + domain + ":2380"},
	}
	for _, each := range cases {
		var said [2]string
		for i, bin := range bins(t, "oe") {
			listen := fmt.Sprintf("http://%s:2380", netnsAddress(number))
			client := fmt.Sprintf("http://%s:2379", netnsAddress(number))
			said[i] = ended(t, exec.Command("ip", "netns", "exec", s.name(number), bin,
				"--name=m", "--data-dir="+t.TempDir()+"/m", "--listen-peer-urls="+listen,
				"--initial-advertise-peer-urls="+each.peer, "--listen-client-urls="+client,
				"--advertise-client-urls="+client, "--discovery-srv="+each.domain))
		}
		t.Logf("%v: %s", each, said[0])
		if said[0] != said[1] {
			t.Errorf("%v\nours %s\netcd %s", each, said[0], said[1])
		}
	}
}

// Both kinds of etcdctl find members of both kinds by their domain, and fail alike.
func TestNetnsDiscoverySRVOfEtcdctl(t *testing.T) {
	t.Parallel()
	own, reference := oursCtl(t), tool(t, "etcdctl")
	c, d := newDomainCluster(t, "oeo", "http", "")
	a := newAuthority(t, "ca")
	hosts := []string{domain}
	var plain, secure, hosted []target
	for i, n := range c.nodes {
		host := n.name + ".hosts.test"
		d.host(host, n.number)
		hosts = append(hosts, host)
		plain = append(plain, target{uint16(i), n.name + "." + domain, 2379})
		secure = append(secure, target{uint16(i), n.name + "." + domain, secureClients})
		hosted = append(hosted, target{uint16(i), host, secureClients})
	}
	p := a.issue("server", leaf{cn: "m", hosts: hosts})
	for _, n := range c.nodes {
		n.args = append(n.args, "--cert-file="+p.cert, "--key-file="+p.key,
			fmt.Sprintf("--listen-client-urls=%s,https://%s:%d", n.client, netnsAddress(n.number), secureClients))
	}
	d.service(srvName("etcd-client", "http", "", domain), plain...)
	d.service(srvName("etcd-client", "http", "blue", domain), plain[1])
	d.service(srvName("etcd-client", "https", "", domain), secure...)
	d.service(srvName("etcd-client", "http", "", "plain.test"), plain...)
	d.service(srvName("etcd-client", "https", "", "hosts.test"), hosted...)
	c.start().works()
	_, others := (&trial{t: t, c: c}).sides()
	move := fmt.Sprintf("%x", c.id(others[0]))
	ca := " --cacert=" + a.ca
	short := " --command-timeout=1s --dial-timeout=1s"
	steps := []string{
		"-d plain.test member list",
		"-d plain.test put key value",
		"-d plain.test get key",
		"-d plain.test endpoint hashkv --cluster",
		"-d plain.test endpoint health",
		"-d plain.test snapshot save " + t.TempDir() + "/db",
		"-d plain.test --insecure-discovery=false get key",
		"-d example.test --discovery-srv-name=blue get key",
		"-d example.test --discovery-srv-name=red get key",
		// Certificates must be for the hosts that a domain names; that they are for the domain does not count.
		"-d example.test --insecure-discovery=false get key" + ca + short,
		"-d hosts.test get key" + ca,
		"-d hosts.test --insecure-discovery=false get key" + ca,
		"-d hosts.test --insecure-discovery=false member list" + ca,
		"-d hosts.test get key" + short,
		"-d nowhere.test get key",
		"-d nowhere.test get",
		"-d nowhere.test endpoint health",
		"-d nowhere.test snapshot save " + t.TempDir() + "/db",
		"-d nowhere.test move-leader 1",
		"-d nowhere.test version",
		"-d broken.test get key",
	}
	for _, step := range steps {
		var got [2]outcome
		for i, bin := range []string{own, reference} {
			args := append([]string{"netns", "exec", c.netns.name(clientNumber), bin, "--endpoints=" + c.nodes[0].client}, strings.Fields(step)...)
			got[i] = ctlOutcome(t, exec.Command("ip", args...))
		}
		t.Logf("%s: %+v", step, got[0])
		if got[0] != got[1] {
			t.Errorf("%s:\nours %+v\netcd %+v", step, got[0], got[1])
		}
	}
	args := []string{"netns", "exec", c.netns.name(clientNumber), own, "-d", "plain.test", "move-leader", move}
	if got := ctlOutcome(t, exec.Command("ip", args...)); got.code != 0 || !strings.Contains(got.stdout, "Leadership transferred") {
		t.Errorf("move-leader: %+v", got)
	}
}
