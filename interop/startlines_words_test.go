package interop

import (
	"encoding/json"
	"regexp"
	"strings"
	"syscall"
)

// sentence is one line that a server printed.
type sentence struct {
	// level is empty for what is no line of a log.
	level, msg, err string
	// whole is the line itself.
	whole string
}

func sentences(text string) []sentence {
	var found []sentence
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		one := sentence{whole: line, msg: line}
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil {
			one.level, _ = fields["level"].(string)
			one.msg, _ = fields["msg"].(string)
			one.err, _ = fields["error"].(string)
		} else if parts := strings.Split(line, "\t"); len(parts) >= 4 && len(parts[0]) > 20 {
			one.level, one.msg = parts[1], parts[3]
			if len(parts) > 4 && json.Unmarshal([]byte(parts[len(parts)-1]), &fields) == nil {
				one.err, _ = fields["error"].(string)
			}
		}
		found = append(found, one)
	}
	return found
}

// reason is why a server gave up: the error of its last line that has one, or that line; without a
// log, the first line that it printed.
func reason(text string) string {
	all := sentences(text)
	for n := len(all) - 1; n >= 0; n-- {
		switch one := all[n]; {
		case strings.HasPrefix(one.whole, "panic: "):
			return strings.TrimPrefix(one.whole, "panic: ")
		case strings.HasPrefix(one.whole, "fatal error: "):
			return strings.TrimPrefix(one.whole, "fatal error: ")
		case one.err != "":
			return one.err
		case one.level == "fatal" || one.level == "panic" || one.level == "error" || one.level == "warn":
			return one.msg
		}
	}
	for _, one := range all {
		if one.level == "" {
			return one.whole
		}
	}
	return ""
}

var (
	blanks    = regexp.MustCompile(`[\s\\"'` + "`" + `]+`)
	goPointer = regexp.MustCompile(`0x[0-9a-f]{6,}`)
)

// meaning is a text without what does not matter for it: quotes, case, blanks and addresses in memory.
func meaning(text string) string {
	return goPointer.ReplaceAllString(strings.TrimSpace(blanks.ReplaceAllString(strings.ToLower(text), " ")), "0x")
}

// compareWords looks for the reason of the reference in all that ours says.
func (b *differenceBook) compareWords(line *startLine, etcd, ours string) []difference {
	phrase, text := meaning(reason(etcd)), meaning(ours)
	if strings.Contains(text, phrase) || saysErrno(phrase, text) {
		return nil
	}
	for n, same := range sameMeaning {
		pattern := regexp.MustCompile(same.etcd)
		found := pattern.FindStringSubmatchIndex(phrase)
		if found == nil || !strings.Contains(text, string(pattern.ExpandString(nil, same.ours, phrase, found))) {
			continue
		}
		b.mutex.Lock()
		defer b.mutex.Unlock()
		b.meant[n] = true
		return nil
	}
	return []difference{{line, said, reason(etcd), reason(ours)}}
}

// saysErrno tells whether a reason ends with an error of the system that the other side names too. What
// was tried when it came is named by each side in its way.
func saysErrno(phrase, text string) bool {
	for number := syscall.Errno(1); number < 134; number++ {
		if words := ": " + meaning(number.Error()); strings.HasSuffix(phrase, words) && strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// sameMeaning lists sentences that say the same in other words, in small letters and without quotes: an
// expression for etcd's, and ours with what this one found.
var sameMeaning = []struct{ etcd, ours string }{
	// Types and fields are called by their names in Go there, and by those in the file here.
	{`cannot unmarshal (\w+(?: [^ ]+)?) into go struct field \w+\.\w+\.([^ ]+) of type`, `cannot unmarshal $1 into $2 of type`},
	{`cannot unmarshal (\w+) into go value of type embed.configyaml`, `cannot unmarshal $1 into the file of type`},
	{`error converting yaml to json: json: unsupported value: \+inf`, `cannot unmarshal number inf into`},
	// Each reader of YAML describes a wrong place in its own words.
	{`error converting yaml to json: yaml: `, `error converting yaml to json: yaml: `},
	// Of a database that does not fit, either side names the file that it looked at.
	{`database file \(.* (index \d+\) does not match with snapshot \(index \d+\))`, `$1`},
	{`database file \(.*\) of the backend is missing`, `does not match with snapshot`},
	// A file in a directory's place is found when that is made, or when a file in it is.
	{`open .*/\.touch: not a directory`, `cannot make: file exists`},
	// etcd calls the other list by this one's name.
	{`unexpected error setting up advertise-peer-urls: (.*)`, `unexpected error setting up advertise-client-urls: $1`},
	// etcd's has a bracket too many, and does not say which variable.
	{`conflicting environment variable is shadowed by corresponding command-line flag`, ` is shadowed by corresponding command-line flag`},
}
