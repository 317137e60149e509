package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

// saying is one line of a log: what all lines have, and the names of its fields.
type saying struct {
	level, logger, message string
	fields                 map[string]any
}

// A test of a log's texts: numbers and ids differ from run to run.
var (
	logIDs     = regexp.MustCompile(`\b[0-9a-f]{13,16}\b`)
	logNumbers = regexp.MustCompile(`\b\d+\b`)
	logPaths   = regexp.MustCompile(`\([^()]*/db\)`)
)

// logLines reads a log of JSON lines; all of it must be such.
func logLines(t testing.TB, path string) []saying {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	var lines []saying
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines = append(lines, parseLine(t, in.Text()))
	}
	must(t, in.Err())
	return lines
}

func parseLine(t testing.TB, text string) saying {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("the log has a line that is no JSON: %v: %s", err, text)
	}
	line := saying{fields: fields}
	take := func(name string) string {
		value, _ := fields[name].(string)
		delete(fields, name)
		return value
	}
	line.level, line.logger, line.message = take("level"), take("logger"), take("msg")
	for _, common := range []string{"ts", "caller"} {
		if take(common) == "" {
			t.Fatalf("a line of the log has no %s: %s", common, text)
		}
	}
	// A stack of Go's says nothing about ours.
	take("stacktrace")
	return line
}

// kind is the line without what differs from run to run.
func (l saying) kind() string {
	text := logPaths.ReplaceAllString(l.message, "(DB)")
	text = logNumbers.ReplaceAllString(logIDs.ReplaceAllString(text, "ID"), "N")
	text = regexp.MustCompile(`voters=\([ID ]*\)`).ReplaceAllString(text, "voters=(IDS)")
	text = regexp.MustCompile(`peers: \[[ID, ]*\]`).ReplaceAllString(text, "peers: [IDS]")
	text, _, _ = strings.Cut(text, " with mode -rw")
	if l.logger != "" {
		text = l.logger + ": " + text
	}
	return l.level + " " + text
}

// kinds are the lines' kinds with the names of the fields that any of a kind has.
func kinds(lines []saying) map[string][]string {
	all := map[string][]string{}
	for _, line := range lines {
		kind := line.kind()
		names := all[kind]
		for name := range line.fields {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		all[kind] = names
	}
	return all
}

// TestLogsSayWhatEtcdsDo leads both servers through the same life and compares what they log: every
// message with its level and the names of its fields.
func TestLogsSayWhatEtcdsDo(t *testing.T) {
	for _, life := range []struct {
		name string
		live func(testing.TB, string) []saying
	}{{"Single", singleLife}, {"Cluster", clusterLife}} {
		t.Run(life.name, func(t *testing.T) {
			mine, theirs := kinds(life.live(t, ours(t))), kinds(life.live(t, tool(t, "etcd")))
			if os.Getenv("HOLDFAST_SHOW_LOGS") != "" {
				show(t, "ours", mine)
				show(t, "etcd's", theirs)
			}
			compareLogs(t, mine, theirs)
		})
	}
}

func show(t *testing.T, whose string, all map[string][]string) {
	var lines []string
	for kind, names := range all {
		lines = append(lines, fmt.Sprintf("%s %v", kind, names))
	}
	sort.Strings(lines)
	t.Logf("%s:\n%s", whose, strings.Join(lines, "\n"))
}

func compareLogs(t *testing.T, mine, theirs map[string][]string) {
	for kind, want := range theirs {
		got, said := mine[kind]
		_, unsaid := notSaid[kind]
		switch {
		case said && unsaid:
			t.Errorf("ours says %q: take it off the list of what it does not say", kind)
		case !said && !unsaid && !slices.Contains(byChance, kind):
			t.Errorf("ours does not say %q %v", kind, want)
		case said:
			compareFields(t, kind, want, got)
		}
	}
	for kind := range mine {
		_, known := onlyOurs[kind]
		if _, said := theirs[kind]; !said && !known && !slices.Contains(byChance, kind) {
			t.Errorf("ours alone says %q %v", kind, mine[kind])
		}
	}
}

func compareFields(t *testing.T, kind string, want, got []string) {
	for _, name := range want {
		if !slices.Contains(got, name) && !slices.Contains(fieldsAbsent[kind], name) {
			t.Errorf("ours says %q without %s", kind, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) && !slices.Contains(fieldsAbsent[kind], name) {
			t.Errorf("ours says %q with %s, which etcd's has not", kind, name)
		}
	}
}

// What etcd logs and ours does not, each with its reason.
var notSaid = map[string]string{}

// What ours logs and etcd does not.
var onlyOurs = map[string]string{}

// Fields that one of them has and the other has not always.
var fieldsAbsent = map[string][]string{}

// What either server says in some runs only.
var byChance = []string{}
