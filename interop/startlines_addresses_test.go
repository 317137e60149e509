package interop

import (
	"strings"
	"testing"
)

// addressForms are URLs in the places where URLs stand; PORT is the one of the place.
var addressForms = []string{
	"http://{ip}", "http://{ip}:PORT/", "http://{ip}:PORT/path", "http://{ip}:PORT?a=b", "http://{ip}:PORT#part", "http://user:word@{ip}:PORT",
	"HTTP://{ip}:PORT", "ftp://{ip}:PORT", "{ip}:PORT", "{ip}", "//{ip}:PORT", "http:{ip}:PORT", "http:///", "http://", "http://:PORT", ":PORT",
	"http://127.0.0.010:PORT", "http://0x7f.1:PORT", "http://127.1:PORT", "http://2130706433:PORT", "http://[::ffff:{ip}]:PORT",
	"http://{ip}:0PORT", "http://{ip}:http", "http://{ip}:65536", "http://{ip}:-1", "http://{ip}:", "http://{ip}:PORT:PORT", "http://{ip}:PORT ",
	" http://{ip}:PORT", "http://{ip}:PORT,", ",http://{ip}:PORT", "http://{ip}:PORT,http://{ip}:PORT", "http://{ip}:PORT, http://{ip}:1PORT",
	"http://{ip}:1PORT,http://{ip}:PORT", "http://*:PORT", "http://localhost.:PORT", "http://LOCALHOST:PORT", "http://Localhost:PORT",
	"http://example.invalid:PORT", "http://a_b:PORT", "http://ä:PORT", "http://a b:PORT", "http://%6c%6f:PORT", "http://[{ip}]:PORT", "http://[::1:PORT", "http://::1:PORT",
	"unix://{dir}/x", "unix://x:PORT", "unix:x", "unixs://x:PORT", "https://{ip}:PORT", "http://{ip}:PORT\n", "http://{ip}:PO%52T",
}

// aloneForms are those that need a network of their own: the wildcards, localhost, IPv6.
var aloneForms = []string{
	"http://localhost:PORT", "http://[::1]:PORT", "http://[0:0::1]:PORT", "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT", "http://[fd00:0::1]:PORT", "http://[FD00::1]:PORT",
	"http://0.0.0.0:PORT", "http://[::]:PORT", "http://[::ffff:127.0.0.1]:PORT", "http://[::1%25lo]:PORT", "http://[::1%lo]:PORT", "http://[fe80::1%25lo]:PORT", "http://127.0.0.1:PORT,http://[::1]:PORT",
}

// addressLines put URLs in every form into every place, those that are not of the line's own address in a
// network of their own.
func addressLines(testing.TB) []startLine {
	var lines []startLine
	for n, form := range addressForms {
		form := func(port string) string { return strings.ReplaceAll(form, "PORT", port) }
		add := func(every int, line startLine) {
			if !strings.Contains(form(""), "{") {
				line.alone = []string{}
				// Whoever has to look up a name that does not exist waits.
				line.waits = strings.Contains(strings.Join(append(line.args, line.config), " "), "initial-")
			}
			if chosen(n, every) {
				line.name += " " + form("P")
				lines = append(lines, line)
			}
		}
		add(0, startLine{name: "clients", args: []string{"--listen-client-urls=" + form("2379")}})
		add(4, startLine{name: "advertised to clients", args: []string{"--advertise-client-urls=" + form("2379")}})
		add(5, startLine{name: "peers", args: []string{"--listen-peer-urls=" + form("2380")}})
		add(7, startLine{name: "metrics", args: []string{"--listen-metrics-urls=" + form("2381")}})
		add(6, startLine{name: "cluster", args: []string{"--initial-cluster=m=" + form("2380")}})
		add(3, startLine{name: "advertised on both sides", args: []string{
			"--initial-advertise-peer-urls=" + form("2380"), "--initial-cluster=m=" + strings.ReplaceAll(form("2380"), ",", ",m=")}})
		if !strings.ContainsAny(form(""), "\n") {
			add(5, startLine{name: "clients in a file", config: "listen-client-urls: '" + form("2379") + "'\n"})
			add(9, startLine{name: "advertised to peers in a file", config: "initial-advertise-peer-urls: '" + form("2380") + "'\n"})
		}
		add(8, startLine{name: "clients in a variable", env: []string{"ETCD_LISTEN_CLIENT_URLS=" + form("2379")}})
	}
	addresses := []string{"fd00::1/64", "fe80::1/64"}
	for n, form := range aloneForms {
		client, peer := strings.ReplaceAll(form, "PORT", "2379"), strings.ReplaceAll(form, "PORT", "2380")
		lines = append(lines, startLine{name: "alone, clients " + form, alone: addresses, args: []string{"--listen-client-urls=" + client}})
		if n%2 == 0 {
			lines = append(lines, startLine{name: "alone, everywhere " + form, alone: addresses, args: []string{
				"--listen-client-urls=" + client, "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer,
				"--initial-advertise-peer-urls=" + peer, "--initial-cluster=m=" + strings.ReplaceAll(peer, ",", ",m=")}})
		} else {
			lines = append(lines, startLine{name: "alone, advertised " + form, alone: addresses, args: []string{
				"--advertise-client-urls=" + client, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=m=" + strings.ReplaceAll(peer, ",", ",m=")}})
		}
	}
	return append(lines, moreAddressLines()...)
}

func moreAddressLines() []startLine {
	return []startLine{
		{name: "other spelling in the list", alone: []string{"fd00::1/64"}, args: []string{
			"--initial-advertise-peer-urls=http://[fd00:0::1]:2380", "--initial-cluster=m=http://[fd00::1]:2380"}},
		{name: "a name in the list", alone: []string{}, args: []string{
			"--initial-advertise-peer-urls=http://localhost:2380", "--initial-cluster=m=http://127.0.0.1:2380"}},
		{name: "capitals in the list", alone: []string{}, waits: true, args: []string{
			"--initial-advertise-peer-urls=http://Example.invalid:2380", "--initial-cluster=m=http://example.invalid:2380"}},
		{name: "several in both orders", args: []string{
			"--initial-advertise-peer-urls={peer},http://{ip}:3380", "--initial-cluster=m=http://{ip}:3380,m={peer}"}},
		{name: "several clients' in another order", args: []string{"--advertise-client-urls=http://b:2,http://a:1,http://a:1"}},
		{name: "the wildcard without advertising", alone: []string{"10.9.8.7/24"}, bare: true, at: "127.0.0.1:2379", args: []string{"--listen-peer-urls=http://0.0.0.0:2380"}},
		{name: "clients without advertising", args: []string{"--listen-client-urls={client}", "--advertise-client-urls="}},
		{name: "clients alone", bare: true, alone: []string{}, args: []string{"--listen-client-urls=http://127.0.0.1:2379"}},
		{name: "advertising alone", bare: true, alone: []string{}, at: "127.0.0.1:2379", args: []string{"--advertise-client-urls=http://127.0.0.1:2379"}},
		{name: "no clients", bare: true, alone: []string{}, at: "127.0.0.1:2379", args: []string{"--listen-client-urls=", "--advertise-client-urls="}},
		{name: "no peers", bare: true, alone: []string{}, at: "127.0.0.1:2379", args: []string{"--listen-peer-urls="}},
		{name: "the same port for both", args: []string{"--listen-peer-urls={client}"}},
		{name: "the same port for metrics", args: []string{"--listen-metrics-urls={client}"}},
		{name: "metrics", args: []string{"--listen-metrics-urls=http://{ip}:2381"}},
		{name: "a socket for clients", at: "{dir}/s", args: []string{"--listen-client-urls=unix://{dir}/s", "--advertise-client-urls=unix://{dir}/s"}},
		{name: "a socket for peers", args: []string{"--listen-peer-urls=unix://{dir}/s"}},
		{name: "a port in use", args: []string{}, before: func(s *scene) { s.listen(s.ip + ":2379") }},
		{name: "a peer port in use", args: []string{}, before: func(s *scene) { s.listen(s.ip + ":2380") }},
		{name: "a metrics port in use", args: []string{"--listen-metrics-urls=http://{ip}:2381"}, before: func(s *scene) { s.listen(s.ip + ":2381") }},
		{name: "an address of others", args: []string{"--listen-client-urls=http://192.0.2.1:2379"}},
		{name: "http and https of one address", args: []string{"--listen-client-urls={client},https://{ip}:2379"}},
		{name: "https without a certificate", args: []string{"--listen-client-urls=https://{ip}:2379"}},
		{name: "https for peers without a certificate", args: []string{"--listen-peer-urls=https://{ip}:2380"}},
		{name: "http with a certificate that is made", args: []string{"--auto-tls"}},
		{name: "any port", args: []string{"--listen-metrics-urls=http://{ip}:65535"}},
	}
}
