package interop

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// lastCheck makes a server refuse after everything else was looked at: what reaches this complaint was
// taken, and is known in a hundredth of the time of a start.
const (
	lastCheck     = "--tls-min-version=TLS9.9"
	lastCheckFile = "tls-min-version: TLS9.9\n"
)

// way is how a setting is given.
type way struct {
	name string
	give func(l *startLine, setting, value string)
}

var (
	byFlag = way{"flag", func(l *startLine, setting, value string) {
		l.args = append(l.args, "--"+setting+"="+value)
	}}
	byVariable = way{"variable", func(l *startLine, setting, value string) {
		l.env = append(l.env, variableOf(setting)+"="+value)
	}}
	// byFile writes a value as it is, byQuotedFile as a text.
	byFile = way{"file", func(l *startLine, setting, value string) {
		l.config += setting + ": " + value + "\n"
	}}
	byQuotedFile = way{"quoted", func(l *startLine, setting, value string) {
		l.config += setting + ": '" + value + "'\n"
	}}
)

func variableOf(setting string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// chosen picks every so many of the combinations, or all that there are when all are asked for.
func chosen(n, every int) bool {
	return every == 0 || n%every == 0 || os.Getenv("HOLDFAST_ALL_LINES") != ""
}

// given is a line that gives one setting.
func given(w way, setting, value string) startLine {
	l := startLine{name: fmt.Sprintf("%s=%s by %s", setting, value, w.name)}
	w.give(&l, setting, value)
	return l
}

// judged is a line that gives one setting, and would be refused for another reason if that were taken.
func judged(w way, setting, value string) startLine {
	l := given(w, setting, value)
	if l.config != "" {
		l.config += lastCheckFile
	} else {
		l.args = append(l.args, lastCheck)
	}
	return l
}

var (
	switches = []string{
		"pre-vote", "strict-reconfig-check", "client-cert-auth", "auto-tls", "peer-client-cert-auth",
		"peer-auto-tls", "peer-skip-client-san-verification", "force-new-cluster", "unsafe-no-fsync",
		"initial-election-tick-advance", "discovery-insecure-transport", "discovery-insecure-skip-tls-verify",
		"enable-pprof", "enable-grpc-gateway", "enable-log-rotation", "socket-reuse-port", "socket-reuse-address",
		"memory-mlock", "enable-distributed-tracing",
	}
	// switchSpellings are for flags and variables, yamlSpellings for files.
	switchSpellings = []string{
		"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
		"yes", "on", "", "2", "tRuE", " true", "00", "enable",
	}
	yamlSpellings = []string{
		"true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", "false", "False", "no", "off", "n", "N",
		"1", "0", "t", "tRuE", "~", "", "null", "[]", "{}", "'true'", `"yes"`, "!!bool true",
	}
)

// booleanLines spell every switch in every way, a few for each: which, moves on from switch to switch.
func booleanLines(testing.TB) []startLine {
	var lines []startLine
	for n, name := range switches {
		for k, spelling := range switchSpellings {
			if chosen(n+k, 6) {
				lines = append(lines, judged(byFlag, name, spelling))
			}
			if chosen(n+k+2, 7) {
				lines = append(lines, judged(byVariable, name, spelling))
			}
		}
		for k, spelling := range yamlSpellings {
			if chosen(n+k, 11) {
				lines = append(lines, judged(byFile, name, spelling))
			}
		}
		if chosen(n, 6) {
			lines = append(lines,
				startLine{name: name + " bare", args: []string{"--" + name, lastCheck}},
				startLine{name: name + " apart", args: []string{"-" + name, "false", lastCheck}})
		}
	}
	return lines
}

var (
	integers = []string{
		"max-txn-ops", "snapshot-count", "snapshot-catchup-entries", "heartbeat-interval", "election-timeout",
		"max-snapshots", "max-wals", "quota-backend-bytes", "max-learners", "max-request-bytes",
		"max-concurrent-streams", "self-signed-cert-validity",
		"backend-batch-limit", "bcrypt-cost", "auth-token-ttl", "compaction-batch-limit",
		"bootstrap-defrag-threshold-megabytes", "distributed-tracing-sampling-rate",
	}
	integerSpellings = []string{
		"0", "-1", "0x10", "017", "0o17", "0b11", "1_000", "1e3", "+5", "5.0", "18446744073709551616",
		"9223372036854775808", "4294967296", " 5", "5 ", "", "five", "٣", "0x", "1__0", "5k",
	}
	yamlIntegers = []string{
		"0", "-1", "0x10", "017", "0o17", "1_000", "1e3", "5.0", "5.5", "'5'", "18446744073709551616", "~", "true",
		"[5]", "five", "+5", "9223372036854775808", "4294967296", ".inf",
	}
)

func numberLines(testing.TB) []startLine {
	var lines []startLine
	for n, name := range integers {
		for k, spelling := range integerSpellings {
			if chosen(n+k, 6) {
				lines = append(lines, judged(byFlag, name, spelling))
			}
			if chosen(n+k+5, 11) {
				lines = append(lines, judged(byVariable, name, spelling))
			}
		}
		for k, spelling := range yamlIntegers {
			if chosen(n+k, 7) {
				lines = append(lines, judged(byFile, name, spelling))
			}
		}
	}
	return lines
}

var (
	spans = []string{
		"watch-progress-notify-interval", "grpc-keepalive-min-time", "grpc-keepalive-interval", "grpc-keepalive-timeout",
		"backend-batch-interval", "discovery-dial-timeout", "discovery-request-timeout", "discovery-keepalive-time",
		"discovery-keepalive-timeout",
		"corrupt-check-time", "compact-hash-check-time", "compaction-sleep-interval", "downgrade-check-time",
		"warning-apply-duration", "warning-unary-request-duration", "raft-read-timeout", "raft-write-timeout",
	}
	spanSpellings = []string{
		"1s", "1", "0", "-1s", "1d", "", "500ms", "1h30m", "1.5h", "5µs", "5us", "+5s", ".5s", "1 s", "9999999h", "-0",
		"1S", "s", "1e3s", "0x5s",
	}
	yamlSpans = []string{"1000000000", "0", "-1", "1s", "'1s'", "1.5", "~", "1e9", "1_000_000", "true"}
)

func durationLines(testing.TB) []startLine {
	var lines []startLine
	for n, name := range spans {
		for k, spelling := range spanSpellings {
			if chosen(n+k, 7) {
				lines = append(lines, judged(byFlag, name, spelling))
			}
			if chosen(n+k+3, 11) {
				lines = append(lines, judged(byVariable, name, spelling))
			}
		}
		for k, spelling := range yamlSpans {
			if chosen(n+k, 5) {
				lines = append(lines, judged(byFile, name, spelling))
			}
		}
	}
	return lines
}

// texts are settings whose values are words of a list, names or lists, with values of all kinds.
var texts = map[string][]string{
	"metrics":                          {"extensive", "nonsense", "", "BASIC"},
	"logger":                           {"zap", "capnslog", "", "Zap"},
	"log-level":                        {"debug", "panic", "dpanic", "fatal", "nonsense", "", "INFO", "Warn", "warning"},
	"log-format":                       {"console", "json", "nonsense", "", "JSON"},
	"log-rotation-config-json":         {"{}", "nonsense", ""},
	"backend-bbolt-freelist-type":      {"array", "map", "nonsense", "", "Map"},
	"initial-cluster-state":            {"new", "nonsense", "", "NEW", "Existing"},
	"discovery-fallback":               {"exit", "proxy", "nonsense", ""},
	"v2-deprecation":                   {"write-only", "gone", "not-yet", "nonsense", "write-only-drop-data", ""},
	"auto-compaction-mode":             {"periodic", "revision", "nonsense", ""},
	"auto-compaction-retention":        {"0", "", "0h", "00", "0s"},
	"tls-max-version":                  {"TLS1.2", "TLS1.3", "", "nonsense", "tls1.3", "1.3"},
	"cipher-suites":                    {"", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "nonsense", "TLS_AES_128_GCM_SHA256"},
	"auth-token":                       {"simple", "jwt", "nonsense", "", "simple,ttl=5"},
	"cors":                             {"*", "", "http://a:1", "nonsense"},
	"host-whitelist":                   {"*", "", "a.example", "a,b"},
	"feature-gates":                    {"", "LeaseCheckpoint=true", "LeaseCheckpointPersist=true", "Nonsense=true", "LeaseCheckpoint", "LeaseCheckpoint=maybe", "=", ",", "LeaseCheckpoint=true,LeaseCheckpointPersist=true", "AllAlpha=false", "AllBeta=true", "LeaseCheckpoint=false", "leasecheckpoint=true", " LeaseCheckpoint = true ", "CompactHashCheck=false", "InitialCorruptCheck=false", "StopGRPCServiceOnDefrag=false", "SetMemberLocalAddr=false", "FastLeaseKeepAlive=true", "TxnModeWriteWithSharedBuffer=true", "PriorityRequest=false", "LeaseCheckpoint=1", "LeaseCheckpoint=true,LeaseCheckpoint=false"},
	"listen-client-http-urls":          {""},
	"distributed-tracing-address":      {"localhost:4317", "h:1"},
	"distributed-tracing-service-name": {"etcd", "x"},
	"distributed-tracing-instance-id":  {"", "x"},
	"discovery-srv-name":               {"", "x"},
	"discovery-token":                  {"t", ""},
	"discovery-endpoints":              {"http://127.0.0.1:1", "", "a,,b"},
	"discovery-user":                   {"", "u:p"},
	"peer-cert-allowed-cn":             {"", "a,b"},
	"peer-cert-allowed-hostname":       {"", "a"},
	"client-cert-allowed-hostname":     {"", "a"},
	"client-crl-file":                  {"", "/none"},
	"cert-file":                        {"", "/none"},
	"trusted-ca-file":                  {"", "/none"},
	"initial-cluster-token":            {"", "a b"},
	"name":                             {"", "a=b", "a,b", "ä", "a b"},
	"discovery-srv":                    {""},
	"tls-min-version":                  {"TLS1.3", "", "TLS1.1", "TLS1.2 "},
}

// wordLines give texts by flags, some by variables and in a file too.
func wordLines(testing.TB) []startLine {
	var lines []startLine
	n := 0
	for _, name := range sortedKeys(texts) {
		for _, value := range texts[name] {
			n++
			for k, w := range []way{byFlag, byVariable, byQuotedFile} {
				if !chosen(n+k, k*3) {
					continue
				}
				line := judged(w, name, value)
				if name == "tls-min-version" {
					line = given(w, name, value)
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}

var helpDefault = regexp.MustCompile(`(?m)^  --([a-z0-9-]+)(?: '?([^'\n]*)'?)?$`)

// helpSettings are the flags that the reference's help lists, with their defaults.
func helpSettings(t testing.TB) [][2]string {
	var found [][2]string
	for _, flag := range helpDefault.FindAllStringSubmatch(run(t, tool(t, "etcd"), "--help"), -1) {
		name, value := flag[1], flag[2]
		switch {
		case name == "discovery" || name == "discovery-proxy":
			// These are listed and gone.
			continue
		case name == "data-dir":
			value = "default.etcd"
		case name == "max-concurrent-streams":
			value = "4294967295"
		case name == "log-rotation-config-json":
			value = `{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}`
		case value == "" && !strings.Contains(flag[0], "'"):
			// Those without a default in the help are off.
			value = map[string]string{
				"enable-grpc-gateway": "true", "memory-mlock": "false", "compaction-sleep-interval": "0",
				"bootstrap-defrag-threshold-megabytes": "0", "downgrade-check-time": "5s",
				"snapshot-catchup-entries": "5000",
			}[name]
		case name == "backend-batch-interval":
			value = "0"
		}
		found = append(found, [2]string{name, value})
	}
	return found
}

// defaultLines give every flag that etcd has its own default, by flag, variable and file: whatever is
// asked for is what is there without a word. Flags are taken together, some at a time, and each alone
// where it is cheap.
func defaultLines(t testing.TB) []startLine {
	settings := helpSettings(t)
	if len(settings) < 100 {
		t.Fatalf("the help of etcd was not understood: only %d flags", len(settings))
	}
	const together = 18
	var lines []startLine
	for first := 0; first < len(settings); first += together {
		some := settings[first:min(first+together, len(settings))]
		for _, w := range []way{byFlag, byVariable} {
			line := startLine{name: fmt.Sprintf("%s to %s by %s", some[0][0], some[len(some)-1][0], w.name), bare: true, alone: []string{}, at: "127.0.0.1:2379"}
			for _, one := range some {
				w.give(&line, one[0], one[1])
			}
			lines = append(lines, line)
		}
	}
	for n, one := range settings {
		name, value := one[0], one[1]
		if name == "tls-min-version" {
			continue
		}
		for k, w := range []way{byFlag, byVariable, byFile} {
			switch {
			case !chosen(n+k, 3):
			case w.name != "file":
				lines = append(lines, judged(w, name, value))
			default:
				lines = append(lines, judged(byFile, name, yamlOf(name, value)))
			}
		}
	}
	return lines
}

// yamlOf writes a value for a file: texts in quotes, durations in nanoseconds.
func yamlOf(name, value string) string {
	units := map[string]string{"0s": "0", "5s": "5000000000", "2s": "2000000000", "6s": "6000000000", "20s": "20000000000", "2h": "7200000000000", "10m": "600000000000", "1m": "60000000000", "300ms": "300000000", "100ms": "100000000"}
	if nanos, isSpan := units[value]; isSpan {
		return nanos
	}
	if name == "auto-compaction-retention" || !regexp.MustCompile(`^(\d+|true|false)$`).MatchString(value) {
		if name == "log-outputs" || name == "cipher-suites" {
			return "['" + value + "']"
		}
		return "'" + value + "'"
	}
	return value
}
