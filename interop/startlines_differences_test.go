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
		reason: "names and tokens are UTF-8, for they are told in answers whose fields are",
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
