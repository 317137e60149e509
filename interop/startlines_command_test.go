package interop

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// commandLines are about the command line as such.
func commandLines(testing.TB) []startLine {
	var lines []startLine
	bare := func(args ...string) {
		lines = append(lines, startLine{name: fmt.Sprintf("%q", args), bare: true, args: args, alone: []string{}, at: "127.0.0.1:2379"})
	}
	last := func(args ...string) {
		lines = append(lines, startLine{name: fmt.Sprintf("%q and the last check", args), args: append(args, lastCheck)})
	}
	for _, word := range []string{
		"--help", "-help", "-h", "--h", "--help=true", "--help=nonsense", "-h=1", "--version", "-version", "--version=true", "--version=1",
		"--version=nonsense", "-v", "--v", "help", "version", "nonsense", "-", "---name=x", "--=x", "-=x", "--name", "--Name=x",
		"--nonsense", "-nonsense=1", "--nonsense=1", "--name x", "--data-dirr=x", "--listen-client-url=http://127.0.0.1:1", "",
		"--discovery=http://127.0.0.1:1", "--discovery-proxy=x", "--proxy=on", "--enable-v2=true", "--experimental-corrupt-check-time=1s",
		"--experimental-enable-lease-checkpoint", "--experimental-initial-corrupt-check=true", "--log-package-levels=x", "--debug",
		"--listen-client-urls", "--pre-vote=", "--wal-dir", "--config-file", "--config-file=", "-config-file=/none.yml",
	} {
		bare(word)
	}
	bare("--version", "nonsense")
	bare("nonsense", "--version")
	bare("--version", "--nonsense")
	bare("--version", "--pre-vote=maybe")
	bare("--version=false", "nonsense")
	bare("--help", "--nonsense")
	bare("--nonsense", "--help")
	bare("--name=x", "--help", "rest")
	bare("--", "--nonsense")
	bare("rest", "--nonsense")
	last("--", "rest")
	last("rest")
	last("")
	last("--pre-vote", "false")
	last("--pre-vote", "--", "false")
	last("--name=a", "--name=b")
	last("--max-wals=x", "--max-wals=3")
	last("--max-wals=3", "--max-wals=x")
	last("--pre-vote=maybe", "--max-wals=x")
	last("--quota-backend-bytes", "-1")
	last("--name", "--pre-vote")
	last("--name", "-x")
	last("--initial-cluster-token", "")
	last("-max-wals", "3", "-name", "x")
	last("--version=false")
	for _, ignored := range []string{
		"cluster-active-size=3", "config=x", "force", "v", "vv", "snapshot=true", "retry-interval", "max-result-buffer=nonsense",
		"peer-heartbeat-interval=1", "test.coverprofile=x",
	} {
		last("--" + ignored)
	}
	lines = append(lines,
		startLine{name: "no flags", bare: true, alone: []string{}, at: "127.0.0.1:2379"},
		startLine{name: "a name alone", bare: true, args: []string{"--name=infra1"}, alone: []string{}, at: "127.0.0.1:2379"},
		startLine{name: "an empty name", bare: true, args: []string{"--name="}, alone: []string{}, at: "127.0.0.1:2379"},
		startLine{name: "flags apart from their values", bare: true, alone: []string{}, at: "127.0.0.1:2379",
			args: []string{"-name", "x", "--data-dir", "d/e", "-pre-vote", "--max-wals", "7"}},
		startLine{name: "repeated flags", args: []string{"--name=a", "--name=m", "--max-wals=1", "--max-wals=9", "--pre-vote", "--pre-vote=false"}},
		startLine{name: "not UTF-8 in a flag", args: []string{"--initial-cluster-token=\xe9"}},
		startLine{name: "not UTF-8 in a name", args: []string{"--name=\xe9", lastCheck}},
		startLine{name: "not UTF-8 in an unknown flag", args: []string{"--nonsens\xe9"}},
		startLine{name: "not UTF-8 beside --version", bare: true, args: []string{"--version", "\xff"}},
		startLine{name: "not UTF-8 in the data directory", args: []string{"--data-dir={dir}/\xe9"}},
		startLine{name: "not UTF-8 in a number", args: []string{"--max-wals=\xe9"}},
	)
	return lines
}

// variableLines are about the environment.
func variableLines(testing.TB) []startLine {
	var lines []startLine
	add := func(name string, env []string, args ...string) {
		lines = append(lines, startLine{name: name, env: env, args: args})
	}
	last := func(name string, env ...string) { add(name, env, lastCheck) }
	add("everything by variables", []string{"ETCD_NAME=v", "ETCD_DATA_DIR={dir}/v", "ETCD_INITIAL_CLUSTER=v={peer}",
		"ETCD_LISTEN_CLIENT_URLS={client}", "ETCD_ADVERTISE_CLIENT_URLS={client}", "ETCD_LISTEN_PEER_URLS={peer}",
		"ETCD_INITIAL_ADVERTISE_PEER_URLS={peer}", "ETCD_HEARTBEAT_INTERVAL=10", "ETCD_ELECTION_TIMEOUT=100",
		"ETCD_UNSAFE_NO_FSYNC=1", "ETCD_INITIAL_CLUSTER_TOKEN=t", "ETCD_MAX_TXN_OPS=3", "ETCD_QUOTA_BACKEND_BYTES=65536"})
	add("an unknown variable", []string{"ETCD_NONSENSE=1"})
	add("variables that other programs of etcd have", []string{"ETCD_VERSION=v3.5.0", "ETCD_IMAGE_TAG=x", "ETCD_UNSUPPORTED_ARCH=arm"})
	add("not UTF-8 in a variable of others", []string{"PS1=\xe9"})
	add("not UTF-8 in an unknown variable", []string{"ETCD_X=\xe9"})
	add("not UTF-8 in the name of a variable", []string{"\xe9=1"})
	add("not UTF-8 in a variable of ours", []string{"ETCD_INITIAL_CLUSTER_TOKEN=\xe9"})
	add("the same by flag and variable", []string{"ETCD_MAX_WALS=3"}, "--max-wals=3")
	add("different by flag and variable", []string{"ETCD_NAME=x"}, "--name=m")
	add("an empty variable beside a flag", []string{"ETCD_MAX_WALS="}, "--max-wals=3")
	add("a switch by flag and variable", []string{"ETCD_PRE_VOTE=false"}, "--pre-vote")
	add("a flag that is absent by flag and variable", []string{"ETCD_CORS=*"}, "--cors=*")
	add("an empty variable", []string{"ETCD_MAX_WALS="})
	last("a wrong number", "ETCD_MAX_WALS=x")
	last("two wrong ones", "ETCD_MAX_WALS=x", "ETCD_PRE_VOTE=maybe")
	last("a wrong switch", "ETCD_PRE_VOTE=yes")
	last("a wrong duration", "ETCD_GRPC_KEEPALIVE_TIMEOUT=1d")
	last("a wrong URL", "ETCD_LISTEN_CLIENT_URLS=127.0.0.1:1")
	last("an absent feature", "ETCD_AUTO_COMPACTION_RETENTION=5")
	last("nothing of an absent feature", "ETCD_AUTO_COMPACTION_RETENTION=0")
	last("a gate", "ETCD_FEATURE_GATES=Nonsense=true")
	last("a variable of an ignored flag", "ETCD_V=1")
	last("a variable of a removed flag", "ETCD_ENABLE_V2=true")
	last("a variable in small letters", "etcd_name=x")
	last("two of the same name", "ETCD_MAX_WALS=3", "ETCD_MAX_WALS=x")
	last("a variable of the help", "ETCD_HELP=true")
	add("a variable for the version", []string{"ETCD_VERSION=true"})
	add("a wrong variable beside --version", []string{"ETCD_MAX_WALS=x"}, "--version")
	add("a conflict beside --help", []string{"ETCD_NAME=x"}, "--name=y", "--help")
	lines = append(lines,
		startLine{name: "a file by its variable", env: []string{"ETCD_CONFIG_FILE={dir}/none.yml"}},
		startLine{name: "a file by flag and variable", env: []string{"ETCD_CONFIG_FILE={dir}/none.yml"}, config: "max-wals: 3\n"},
		startLine{name: "variables beside a file", env: []string{"ETCD_NAME=x", "ETCD_MAX_WALS=nonsense", "ETCD_NONSENSE=1"}, config: "max-wals: 3\n"},
	)
	return lines
}
