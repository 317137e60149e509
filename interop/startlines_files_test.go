package interop

import (
	"os"
	"strings"
	"testing"
)

// sampleFile is a configuration file with everything that operators put there, most of it with the
// value that asks for nothing.
const sampleFile = `name: 'm'
data-dir: {dir}/data
wal-dir:
snapshot-count: 10000
heartbeat-interval: 10
election-timeout: 100
quota-backend-bytes: 0
listen-peer-urls: {peer}
listen-client-urls: {client}
max-wals: 5
cors:
initial-advertise-peer-urls: {peer}
advertise-client-urls: {client}
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster: m={peer}
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: false
client-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
peer-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
  allowed-cn:
  allowed-hostname:
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "0"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
`

// fileLines are about the configuration file as such.
func fileLines(testing.TB) []startLine {
	var lines []startLine
	add := func(name, config string, args ...string) {
		lines = append(lines, startLine{name: name, config: config, args: args})
	}
	last := func(name, config string) { add(name, config+"\n"+lastCheckFile) }
	bare := func(name, config string, args ...string) {
		lines = append(lines, startLine{name: name, config: config, args: args, bare: true, alone: []string{}, at: "127.0.0.1:2379"})
	}
	lines = append(lines, startLine{name: "a full file", config: sampleFile, bare: true},
		startLine{name: "a full file with the end of lines of Windows", config: strings.ReplaceAll(sampleFile, "\n", "\r\n"), bare: true},
		startLine{name: "a full file that asks for pprof", config: strings.Replace(sampleFile, "enable-pprof: false", "enable-pprof: true", 1), bare: true},
		startLine{name: "a full file that asks for compaction", config: strings.Replace(sampleFile, `retention: "0"`, `retention: "1"`, 1), bare: true})
	bare("an empty file", "# nothing\n")
	bare("a file of blanks", " \n")
	bare("null", "null\n")
	bare("only the start of a document", "---\n")
	bare("a name alone", "name: infra1\n")
	bare("JSON", `{"name": "j", "max-wals": 7}`)
	bare("a list", "- name\n")
	bare("a word", "name\n")
	bare("a number", "5\n")
	add("flags beside a file", "max-wals: 3\n", "--max-wals=4", "--name=ignored")
	add("a flag that is wrong beside a file", "max-wals: 3\n", "--max-wals=x")
	add("an unknown flag beside a file", "max-wals: 3\n", "--nonsense")
	add("a wrong URL by flag beside a file", "max-wals: 3\n", "--listen-client-urls=nonsense")
	add("rest beside a file", "max-wals: 3\n", "rest")
	add("an unknown key", "nonsense: 1\n")
	add("an unknown key near a known one", "max-walls: 1\n")
	add("a key in capitals", "MAX-WALS: 9\n")
	add("a key with underscores", "max_wals: 9\n")
	add("a key with dashes before it", "--max-wals: 9\n")
	add("a key twice", "max-wals: 3\nmax-wals: 4\n")
	add("a key twice, alike", "max-wals: 3\nmax-wals: 3\n")
	add("a quoted key", "\"max-wals\": 3\n")
	add("comments", "max-wals: 3 # three\n# more\n")
	add("a byte order mark", "\ufeffmax-wals: 3\n")
	add("two documents", "max-wals: 3\n---\nmax-wals: 4\n")
	add("an end of the document", "max-wals: 3\n...\n")
	add("an anchor", "max-wals: &n 3\nmax-txn-ops: *n\n")
	add("an unknown anchor", "max-wals: *n\n")
	add("a merge", "x: &x {max-txn-ops: 5}\n<<: *x\n")
	add("a folded text", "initial-cluster-token: >-\n  a\n  b\n")
	add("a text over lines", "initial-cluster-token: |\n  a\n")
	add("a tag", "max-wals: !!int '3'\n")
	add("keys of etcd 3.4 and 3.5", "enable-v2: false\nexperimental-initial-corrupt-check: false\nproxy: 'off'\nproxy-failure-wait: 5000\ndebug: false\nlog-package-levels:\nv2-deprecation: not-yet\n")
	add("keys of flags that are none of the file", "auto-tls: true\nclient-cert-auth: true\ncert-file: /none\n")
	add("flags that are ignored, as keys", "snapshot: 1\nconfig: x\n")
	add("discovery-fallback", "discovery-fallback: nonsense\n")
	add("max-snapshots", "max-snapshots: 3\n")
	add("v2-deprecation", "v2-deprecation: gone\n")
	add("a list of log outputs in a text", "log-outputs: stderr\n")
	add("a list of log outputs", "log-outputs: ['{dir}/a.log', '{dir}/b.log']\n")
	add("cipher suites in a text", "cipher-suites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n")
	add("feature gates in a mapping", "feature-gates: {LeaseCheckpoint: true}\n")
	add("feature gates in a text", "feature-gates: LeaseCheckpoint=true,LeaseCheckpointPersist=true\n")
	add("URLs in a list", "listen-client-urls: [{client}]\nadvertise-client-urls: {client}\n")
	add("the same URL twice", "listen-client-urls: '{client},{client}'\nadvertise-client-urls: '{client},{client}'\n")
	add("cors in a text", "cors: http://a:1\n")
	add("an empty list of hosts", "host-whitelist:\n")
	add("an empty name", "name:\ninitial-cluster: default={peer}\n")
	add("an empty election timeout", "election-timeout:\n")
	add("an empty state", "initial-cluster-state:\n")
	add("an empty data directory", "data-dir:\n")
	add("a number where a text belongs", "name: 5\ninitial-cluster: 5={peer}\n")
	add("a switch where a text belongs", "name: true\ninitial-cluster: true={peer}\n")
	add("YAML's words for switches where a text belongs", "name: yes\ninitial-cluster: yes={peer}\n")
	add("a list where a text belongs", "name: [m]\n")
	add("a date where a text belongs", "initial-cluster-token: 2001-01-01\n")
	add("a fraction where a text belongs", "initial-cluster-token: 1.50\n")
	add("a great number where a text belongs", "initial-cluster-token: 123456789012345678901234567890\n")
	add("a number in base eight where a text belongs", "initial-cluster-token: 017\n")
	add("a client section that is no mapping", "client-transport-security: true\n")
	add("a peer section that is no mapping", "peer-transport-security: true\n")
	add("an empty client section", "client-transport-security:\n")
	add("an empty peer section", "peer-transport-security:\n")
	add("an unknown key in a section", "peer-transport-security:\n  nonsense: 1\n")
	add("a text for a switch in a section", "peer-transport-security:\n  client-cert-auth: 'true'\n")
	add("YAML's words for a switch in a section", "client-transport-security:\n  auto-tls: no\n  client-cert-auth: off\n")
	add("names in a section as a text", "peer-transport-security:\n  allowed-cn: a\n")
	add("names in a section", "peer-transport-security:\n  allowed-cn: [a]\n")
	add("names and hosts in a section", "peer-transport-security:\n  allowed-cn: [a]\n  allowed-hostname: [b]\n")
	add("a client section with a missing file", "client-transport-security:\n  cert-file: /none\n  key-file: /none\nlisten-client-urls: https://{ip}:2379\nadvertise-client-urls: https://{ip}:2379\n")
	add("a certificate without URLs that want one", "client-transport-security:\n  cert-file: /none\n  key-file: /none\n")
	add("a section of sockets", "socket-options:\n  reuse-port: false\n  reuse-address: false\n")
	add("a section of sockets that asks", "socket-options:\n  ReusePort: true\n")
	add("an unknown key in the section of discovery", "discovery-config:\n  discovery-token: ''\n")
	add("half of discovery", "discovery-config:\n  token: t\n")
	add("the other half of discovery", "discovery-config:\n  client:\n    endpoints: [http://127.0.0.1:1]\ninitial-cluster:\n")
	add("discovery beside a list", "discovery-config:\n  token: t\n  client:\n    endpoints: [http://127.0.0.1:1]\n")
	add("settings of discovery alone", "discovery-config:\n  client:\n    dial-timeout: 1000000000\n    secure:\n      insecure-transport: true\n    auth:\n      username: u\n")
	last("broken YAML", "max-wals: [")
	last("broken by a tab", "max-wals:\t3\n\tx: 1")
	last("a tab before a value", "max-wals:\t3")
	last("not UTF-8", "initial-cluster-token: \xe9")
	last("a byte that is nothing", "initial-cluster-token: a\x00b")
	last("control bytes", "initial-cluster-token: a\x01b")
	last("a colon without a blank", "max-wals:3")
	last("a wrong client URL", "listen-client-urls: nonsense\nadvertise-client-urls: {client}")
	last("a wrong peer URL", "listen-peer-urls: http://a")
	last("a wrong advertised client URL", "advertise-client-urls: ftp://a:1")
	last("a wrong advertised peer URL", "initial-advertise-peer-urls: http://a:1/x")
	last("a wrong metrics URL", "listen-metrics-urls: a")
	last("an unknown gate", "feature-gates: Nonsense=true")
	last("too long an election", "election-timeout: 50001")
	last("an unknown state", "initial-cluster-state: nonsense")
	last("listening without advertising", "listen-client-urls: http://127.0.0.1:1")
	lines = append(lines,
		startLine{name: "a missing file", bare: true, args: []string{"--config-file={dir}/none.yml"}},
		startLine{name: "a directory", bare: true, args: []string{"--config-file={dir}"}},
		startLine{name: "a file in the working directory", bare: true, args: []string{"--config-file=x.yml"}, before: func(s *scene) {
			s.need(os.WriteFile(s.dir+"/x.yml", []byte("name: [\n"), 0o600))
		}},
		startLine{name: "a file of nothing", bare: true, args: []string{"--config-file=x.yml"}, alone: []string{}, at: "127.0.0.1:2379", before: func(s *scene) {
			s.need(os.WriteFile(s.dir+"/x.yml", nil, 0o600))
		}},
		startLine{name: "a file with a page of nonsense", bare: true, args: []string{"--config-file=x.yml"}, before: func(s *scene) {
			s.need(os.WriteFile(s.dir+"/x.yml", []byte(strings.Repeat("}{", 100000)), 0o600))
		}},
		startLine{name: "a file of many levels", bare: true, args: []string{"--config-file=x.yml"}, before: func(s *scene) {
			s.need(os.WriteFile(s.dir+"/x.yml", []byte("name: "+strings.Repeat("[", 20000)), 0o600))
		}},
	)
	return lines
}
