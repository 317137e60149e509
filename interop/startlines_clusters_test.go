package interop

import (
	"net"
	"syscall"
	"testing"
)

// listen takes an address.
func (s *scene) listen(address string) {
	l, err := net.Listen("tcp", address)
	s.need(err)
	s.others = append(s.others, func() { l.Close() })
}

// clusterLines are about who the members are.
func clusterLines(testing.TB) []startLine {
	var lines []startLine
	add := func(name string, args ...string) { lines = append(lines, startLine{name: name, args: args}) }
	list := func(name, list string) { add(name, "--initial-cluster="+list) }
	list("without this one", "n={peer}")
	list("this one at another URL", "m=http://{ip}:1")
	list("this one at another host", "m=http://127.0.0.9:2380")
	list("this one in another scheme", "m=https://{ip}:2380")
	list("a URL twice", "m={peer},m={peer}")
	list("a URL of two members", "m={peer},n={peer}")
	list("empty", "")
	list("no URL", "m=")
	list("no URL for another", "m={peer},n=")
	list("no name", "={peer}")
	list("no sign", "m")
	list("no sign in the second", "m={peer},http://a:1")
	list("a URL alone", "{peer}")
	list("two signs", "m=={peer}")
	list("a blank before", " m={peer}")
	list("a blank between", "m= {peer}")
	list("a blank behind", "m={peer} ")
	list("a comma at the end", "m={peer},")
	list("a semicolon", "m={peer};n=http://a:1")
	list("a name in capitals", "M={peer}")
	list("a space as separator", "m={peer} n=http://a:1")
	list("a wrong URL of another", "m={peer},n=http://a")
	list("a query", "m={peer}&n=x")
	list("percent", "m=http%3A%2F%2F{ip}:2380")
	add("existing without a cluster", "--initial-cluster-state=existing")
	add("existing with members that are away", "--initial-cluster-state=existing", "--initial-cluster=m={peer},n=http://127.0.0.9:1")
	add("existing without a list", "--initial-cluster-state=existing", "--initial-cluster=")
	add("a list and discovery", "--discovery-endpoints=http://127.0.0.1:1", "--discovery-token=t")
	add("a list and SRV", "--discovery-srv=example.invalid")
	add("discovery without a token", "--discovery-endpoints=http://127.0.0.1:1", "--initial-cluster=")
	add("a token without endpoints", "--discovery-token=t")
	add("an empty endpoint", "--discovery-endpoints=http://127.0.0.1:1,", "--discovery-token=t", "--initial-cluster=")
	lines = append(lines, startLine{name: "discovery that is away", waits: true, args: []string{"--discovery-endpoints=http://127.0.0.1:1", "--discovery-token=t", "--initial-cluster=", "--discovery-dial-timeout=200ms", "--discovery-request-timeout=200ms"}})
	add("SRV and discovery", "--discovery-srv=example.invalid", "--discovery-endpoints=http://127.0.0.1:1", "--discovery-token=t", "--initial-cluster=")
	add("a service's name without a domain", "--discovery-srv-name=x", "--initial-cluster=")
	add("another token", "--initial-cluster-token=other")
	add("no token", "--initial-cluster-token=")
	add("a token with blanks", "--initial-cluster-token= a b ")
	add("another name", "--name=n", "--initial-cluster=n={peer}")
	add("a long name", "--name=n.example_1-2", "--initial-cluster=n.example_1-2={peer}")
	add("force-new-cluster without data", "--force-new-cluster")
	lines = append(lines,
		startLine{name: "no list", bare: true, alone: []string{}, at: "127.0.0.1:2379", args: []string{"--name=m", "--initial-cluster="}},
		startLine{name: "a list of this one alone", bare: true, alone: []string{}, at: "127.0.0.1:2379", args: []string{"--name=m", "--initial-cluster=m=http://localhost:2380"}},
		startLine{name: "another peer URL and no list", bare: true, alone: []string{}, at: "127.0.0.1:2379",
			args: []string{"--listen-peer-urls=http://127.0.0.1:3380", "--initial-advertise-peer-urls=http://127.0.0.1:3380"}},
		startLine{name: "another peer URL, a name and no list", bare: true, alone: []string{}, at: "127.0.0.1:2379",
			args: []string{"--name=m", "--listen-peer-urls=http://127.0.0.1:3380", "--initial-advertise-peer-urls=http://127.0.0.1:3380"}},
		startLine{name: "waits for another", args: []string{"--initial-cluster=m={peer},n=http://{ip}:3380"}, waits: true},
		startLine{name: "commas between", args: []string{"--initial-cluster=m={peer},,n=http://a:1"}, waits: true, alone: []string{}},
		startLine{name: "waits for another that has a name alone", alone: []string{}, args: []string{"--initial-cluster=m={peer},n=http://n.invalid:3380"}, waits: true},
		startLine{name: "told to end while it waits", args: []string{"--initial-cluster=m={peer},n=http://{ip}:3380"}, waits: true, whileWaiting: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
		}},
		startLine{name: "interrupted while it waits", args: []string{"--initial-cluster=m={peer},n=http://{ip}:3380"}, waits: true, whileWaiting: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGINT)
		}},
		startLine{name: "hung up while it waits", args: []string{"--initial-cluster=m={peer},n=http://{ip}:3380"}, waits: true, whileWaiting: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGHUP)
		}},
	)
	return lines
}
