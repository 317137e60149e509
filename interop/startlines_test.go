package interop

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// startLinesMin is how many different ways to start a server are compared at least.
const startLinesMin = 350

// slowLine is after which a line is named that took so long.
const slowLine = 8 * time.Second

// startLinesAtOnce is how many of them run at a time: most of a start is waiting.
const startLinesAtOnce = 8

// startLine is one way to start a server: flags, variables, a configuration file, what lies in its
// directories, and what is done to it while it runs.
//
// Texts may have the placeholders {ip}, an address of this line alone; {client} and {peer}, URLs with
// this address and etcd's ports; and {dir}, the working directory, which is empty at first.
type startLine struct {
	kind, name string
	args, env  []string
	// config is the text of a configuration file.
	config string
	// bare lines have nothing but what they say; others get a name, addresses, a data directory and
	// short timeouts, by flags or in the configuration file, unless they set these themselves.
	bare bool
	// alone lines run in a network namespace of their own, with loopback and the addresses listed.
	alone []string
	// at is where clients find the server, as host:port or a socket's path; the client URL if empty.
	at string
	// waits tells that the server is expected to be neither ready nor gone.
	waits bool
	// before prepares the working directory.
	before func(*scene)
	// whileWaiting is called when the server waits, after which it may get ready or end.
	whileWaiting func(*scene)
	// then looks at a server that runs, or does something to it.
	then func(*scene)
	// secure is how clients reach a server that has TLS.
	secure func(*scene) *clientSide
}

func (l *startLine) title() string { return l.kind + "/" + l.name }

// String is the line as one would type it.
func (l *startLine) String() string {
	var words []string
	words = append(words, l.env...)
	words = append(words, "etcd")
	if !l.bare {
		words = append(words, "...")
	}
	words = append(words, l.args...)
	for n, word := range words {
		if strings.ContainsAny(word, " \t\n*\"'") || word == "" {
			words[n] = fmt.Sprintf("%q", word)
		}
	}
	text := strings.Join(words, " ")
	if l.config != "" {
		text += fmt.Sprintf(" # file %q", l.config)
	}
	return text
}

// difference is one fact that is not equal on both sides.
type difference struct {
	line       *startLine
	what       string
	etcd, ours string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %s\n  line: %s\n  etcd: %s\n  ours: %s", d.line.title(), d.what, d.line, d.etcd, d.ours)
}

// startLineKinds are the parts of the table.
var startLineKinds = map[string]func(t testing.TB) []startLine{
	"booleans":  booleanLines,
	"numbers":   numberLines,
	"durations": durationLines,
	"words":     wordLines,
	"defaults":  defaultLines,
	"command":   commandLines,
	"variables": variableLines,
	"files":     fileLines,
	"addresses": addressLines,
	"clusters":  clusterLines,
	"data":      dataLines,
	"logs":      startLogLines,
	"signals":   signalLines,
	"settings":  settingLines,
}

// Whatever one writes on a start line, both servers make the same of it: run or refuse, with the same
// code and for the same reason, listen at the same addresses, advertise the same, with the same
// settings, and leave the same files. What differs on purpose is listed, and listed only as long as
// it differs.
//
// HOLDFAST_LINES is an expression for the lines to compare, as kind/name. With HOLDFAST_ALL_LINES every
// spelling is tried in every place, which takes minutes.
func TestStartLines(t *testing.T) {
	needNetns(t)
	only := regexp.MustCompile(os.Getenv("HOLDFAST_LINES"))
	var lines []startLine
	for _, kind := range sortedKeys(startLineKinds) {
		for _, line := range startLineKinds[kind](t) {
			line.kind = kind
			lines = append(lines, line)
		}
	}
	names := map[string]bool{}
	for _, line := range lines {
		if names[line.title()] {
			t.Fatalf("there are two lines %s", line.title())
		}
		names[line.title()] = true
	}
	if all := len(lines); all < startLinesMin {
		t.Errorf("there are only %d start lines", all)
	}
	some := slices.DeleteFunc(lines, func(l startLine) bool { return !only.MatchString(l.title()) })
	book := compareStartLines(t, some)
	t.Logf("%d start lines were compared", len(some))
	if len(some) < len(names) {
		return
	}
	for n, known := range knownDifferences {
		if !book.used[n] {
			t.Errorf("no line differs any more as listed: %q %q (%s)", known.line, known.what, known.reason)
		}
	}
	for n, same := range sameMeaning {
		if !book.meant[n] {
			t.Errorf("no line says any more as listed: %v and %v", same.etcd, same.ours)
		}
	}
}

// compareStartLines runs lines on both servers and reports, kind by kind, where these differ without
// being listed.
func compareStartLines(t *testing.T, lines []startLine) *differenceBook {
	t.Helper()
	pair, root := [2]string{tool(t, "etcd"), ours(t)}, t.TempDir()
	book := &differenceBook{used: map[int]bool{}, meant: map[int]bool{}}
	found := make([][]difference, len(lines))
	work := make(chan int)
	var workers sync.WaitGroup
	for range startLinesAtOnce {
		workers.Go(func() {
			for n := range work {
				begun := time.Now()
				found[n] = compareTwice(root, pair, &lines[n], book)
				if took := time.Since(begun); took > slowLine {
					t.Logf("%s took %v", lines[n].title(), took)
				}
			}
		})
	}
	for n := range lines {
		work <- n
	}
	close(work)
	workers.Wait()
	for first := 0; first < len(lines); {
		last := first
		for last < len(lines) && lines[last].kind == lines[first].kind {
			last++
		}
		t.Run(lines[first].kind, func(t *testing.T) {
			for _, one := range slices.Concat(found[first:last]...) {
				t.Error(one)
			}
		})
		first = last
	}
	return book
}

// compareTwice compares again where there is a difference that is not listed: on a busy machine, a
// server may be too slow once. What differs both times is told.
func compareTwice(root string, pair [2]string, line *startLine, book *differenceBook) []difference {
	first := book.unlisted(book.compare(root, pair, line))
	if len(first) == 0 {
		return nil
	}
	return book.unlisted(book.compare(root, pair, line))
}

func (b *differenceBook) compare(root string, pair [2]string, line *startLine) []difference {
	place := newPlace(root)
	defer place.remove()
	var made [2]started
	limit := readyLimit
	for n, bin := range pair {
		if line.waits || n > 0 && made[0][ends] == waiting {
			limit = waitLimit
		}
		made[n] = place.run(bin, pair[0], line, limit)
	}
	return b.compareOutcomes(line, made[0], made[1])
}

// compareOutcomes looks at how both end first: where that differs, all else does.
func (b *differenceBook) compareOutcomes(line *startLine, etcd, ours started) []difference {
	if etcd[ends] != ours[ends] {
		told := func(o started) string { return strings.TrimSpace(o[ends] + " " + reason(o[said])) }
		return []difference{{line, ends, told(etcd), told(ours)}}
	}
	facts := map[string]bool{}
	for _, side := range []started{etcd, ours} {
		for what := range side {
			facts[what] = true
		}
	}
	var found []difference
	for _, what := range sortedKeys(facts) {
		want, got := etcd[what], ours[what]
		_, told := ours[what]
		switch {
		case what == said && strings.HasPrefix(etcd[ends], "signal"):
			// Who is ended from outside gives no reason.
		case what == said:
			found = append(found, b.compareWords(line, want, got)...)
		case strings.HasPrefix(what, setting) && !told:
			// What is not told at all is one difference, not one of each line.
		case what == files && etcd[ends] != runs:
			// Who refuses may leave less behind.
			if more := without(got, want); more != "" {
				found = append(found, difference{line, what, "nothing of this", more})
			}
		case what == files && want != got:
			found = append(found, difference{line, what, without(want, got), without(got, want)})
		case want != got:
			found = append(found, difference{line, what, want, got})
		}
	}
	return found
}

// without is what a list has that another has not.
func without(list, other string) string {
	var more []string
	for _, one := range strings.Split(list, ", ") {
		if !slices.Contains(strings.Split(other, ", "), one) && one != "" {
			more = append(more, one)
		}
	}
	return strings.Join(more, ", ")
}
