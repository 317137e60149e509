package interop

import (
	"encoding/json"
	"regexp"
	"strings"
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
	if len(all) > 0 {
		return all[0].whole
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
	if strings.Contains(text, phrase) {
		return nil
	}
	for n, same := range sameMeaning {
		if regexp.MustCompile(same.etcd).MatchString(phrase) && regexp.MustCompile(same.ours).MatchString(text) {
			b.mutex.Lock()
			defer b.mutex.Unlock()
			b.meant[n] = true
			return nil
		}
	}
	return []difference{{line, said, reason(etcd), reason(ours)}}
}

// sameMeaning lists expressions for sentences that say the same in other words, in small letters and
// without quotes.
var sameMeaning = []struct{ etcd, ours string }{}
