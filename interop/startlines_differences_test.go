package interop

import (
	"regexp"
	"sync"
)

// knownDifference is one that is meant: the lines that have it, the fact that differs, and why. Facts
// may be restricted to the values that each side has.
type knownDifference struct {
	line, what, etcd, ours, reason string
}

// knownDifferences are all that are meant. One that no line shows any more has to go.
var knownDifferences = []knownDifference{
	{
		line: `(booleans|numbers|durations|words|files|logs)/.*`, ours: `(exit 1 )?--[a-z-]+=.* is not supported by this version, which has no .*; leave it out`,
		reason: "what asks for a feature that is absent is refused by name; defaults, which ask for nothing, are not among these lines",
	},
	{
		line: `.*`, ours: `(exit 1 )?unknown key ".*`,
		reason: "an unknown key in the file is a typing error until --config-file-ignore-unknown-keys says otherwise",
	},
	{
		line: `(command|variables)/not UTF-8 .*`, what: ends, ours: `exit [12] invalid value ".*not UTF-8`,
		reason: "names are UTF-8, for they are told in answers whose fields are",
	},
	{
		line: `(addresses|files)/.*`, ours: `(exit 1 )?--listen-[a-z]+-urls: this version does not listen on unix sockets .*`,
		reason: "unix sockets are absent",
	},
	{
		line: `addresses/.*`, what: `setting listen-[a-z]+-urls`, etcd: `.*user:word@.*`, ours: `.*user:xxxxx@.*`,
		reason: "the log shows no password",
	},
	{
		line: `files/the same URL twice`, what: "advertises|setting (advertise|listen)-client-urls",
		reason: "the same URL twice is one, in the file as well; etcd does so with flags alone",
	},
	{
		line: `files/a client section with a missing file|settings/a (key alone|certificate alone|key that does not fit)`, what: ends, etcd: `runs`, ours: `exit 1 (open /none: no such file or directory|KeyFile and CertFile must both be present.*|tls: private key does not match public key)`,
		reason: "a certificate that cannot be shown is told at the start; etcd fails every handshake",
	},
	{
		line: `data/.*`, what: ends, etcd: `exit 2 .*`, ours: `exit 1 .*`,
		reason: "over a directory that is damaged etcd panics; ours says what is wrong with it",
	},
	{
		line: `data/.*`, what: ends, etcd: `waits`, ours: `exit 1 .*`,
		reason: "a log that does not belong to its database, or is not there, is said at once; etcd waits for an election that cannot come",
	},
	{
		line: `data/a file of the log missing`, what: ends, etcd: `runs`, ours: `exit 1 .*segment .* is missing`,
		reason: "a log with a hole is not read on behind it",
	},
	{
		line: `data/a log (in place of a file|elsewhere with a file)`, what: ends, etcd: `runs`, ours: `exit 1 .*`,
		reason: "what lies in the log's directory and is no log is not removed for a new one",
	},
	{
		line: `data/the log in the place of the data`, ours: `.*`,
		reason: "what lies in the log's directory and is no log is not removed for a new one: etcd removes its own database",
	},
	{
		line: `data/an old database .*`, what: files, etcd: `nothing of this`, ours: `data/member/snap/[0-9a-f]+.snap.db 600`,
		reason: "a database that does not fit keeps its name; etcd has renamed it when it finds out",
	},
	{
		line: `data/a database on its way, of a name`, what: files, etcd: `data/member/snap/db.tmp.123 600`,
		reason: "what an interrupted defragmentation left is cleared away",
	},
	{
		line: `signals/SIG(QUIT|ILL|TRAP|ABRT|BUS|FPE|SEGV|STKFLT|SYS)`, what: ends, etcd: `exit 2`, ours: `signal: .*`,
		reason: "Go makes a list of its threads of them; here they end the process as the system does",
	},
	{
		line: `signals/signal signal 34`, what: ends, etcd: `signal: signal 34`, ours: `runs`,
		reason: "Go leaves the first of the signals for real time to the library of C; here it is one of them",
	},
	{
		line: `settings/pages.*`, what: `page /v3/`,
		reason: "the JSON gateway is absent",
	},
	{
		line: `logs/--log-level=debug`, what: `log in err`, ours: `\[info in json\]`,
		reason: "nothing at the start is told for debugging alone",
	},
}

// differenceBook remembers which of the known ones were met.
type differenceBook struct {
	mutex sync.Mutex
	used  map[int]bool
	// meant are the sentences of the same meaning that were met.
	meant map[int]bool
}

// unlisted are those that are not known.
func (b *differenceBook) unlisted(found []difference) []difference {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	var rest []difference
	for _, one := range found {
		if known := one.known(); known >= 0 {
			b.used[known] = true
		} else {
			rest = append(rest, one)
		}
	}
	return rest
}

// known is the number of the entry that allows a difference, or -1.
func (d difference) known() int {
	fits := func(pattern, text string) bool {
		return pattern == "" || regexp.MustCompile("(?s)^(?:"+pattern+")$").MatchString(text)
	}
	for n, k := range knownDifferences {
		if fits(k.line, d.line.title()) && fits(k.what, d.what) && fits(k.etcd, d.etcd) && fits(k.ours, d.ours) {
			return n
		}
	}
	return -1
}
