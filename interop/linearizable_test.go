package interop

import (
	"fmt"
	"io"
	"math"
	"runtime/pprof"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

type kind string

const (
	put    kind = "put"
	get    kind = "get"
	swap   kind = "swap"
	remove kind = "delete"
)

// request is one operation on one key. A swap puts if the key was last written at the expected
// revision, 0 if it must not be there; otherwise it reads. No value is put twice.
type request struct {
	kind     kind
	key      int
	value    string
	expected int64
}

// answer has the store's revision, whether the request changed it, and what was read.
type answer struct {
	revision int64
	changed  bool
	found    held
}

// held is a key's value and the revision that wrote it; 0 if the key is not there.
type held struct {
	value    string
	revision int64
}

// storeState is the whole store. Each change makes the next revision.
type storeState struct {
	revision int64
	keys     [historyKeys]held
}

// step is what one store would have answered.
func (s storeState) step(q request) (storeState, answer) {
	now := s.keys[q.key]
	switch {
	case q.kind == put, q.kind == swap && now.revision == q.expected:
		s.revision++
		s.keys[q.key] = held{q.value, s.revision}
	case q.kind == remove && now.revision > 0:
		s.revision++
		s.keys[q.key] = held{}
	case q.kind == remove:
		return s, answer{revision: s.revision}
	default:
		return s, answer{revision: s.revision, found: now}
	}
	return s, answer{revision: s.revision, changed: true}
}

func storeModel(first storeState) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, in, out any) (bool, any) {
			next, want := state.(storeState).step(in.(request))
			return want == out.(answer), next
		},
	}
}

// check hands the history to a checker of linearizability.
func (h *history) check() {
	h.t.Helper()
	operations, errs := resolve(h.operations, h.events)
	for _, err := range errs {
		h.t.Error(err)
	}
	unknown := 0
	for _, op := range h.operations {
		if !op.known {
			unknown++
		}
	}
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(storeModel(h.first), operations, historyCheckMax)
	if result != porcupine.Ok {
		h.t.Errorf("the history is not linearizable: %v\n%s", result, firstBeyond(operations, info))
	}
	h.t.Logf("%d operations, %d of them of unknown outcome, %d revisions: linearizable is %v, after %v",
		len(h.operations), unknown, len(h.events), result, time.Since(began).Round(time.Millisecond))
}

// firstBeyond has some of the operations that no linearization reaches.
func firstBeyond(operations []porcupine.Operation, info porcupine.LinearizationInfo) string {
	reached := map[any]bool{}
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, line := range partition {
			for _, op := range line {
				reached[[3]any{op.ClientId, op.Call, op.Input}] = true
			}
		}
	}
	var out strings.Builder
	left := 20
	for _, op := range operations {
		if !reached[[3]any{op.ClientId, op.Call, op.Input}] && left > 0 {
			left--
			fmt.Fprintf(&out, "%d: %v -> %v in %v..%v\n", op.ClientId, op.Input, op.Output, time.Duration(op.Call), time.Duration(op.Return))
		}
	}
	return out.String()
}

// resolve compares what was acknowledged with the events, and makes a history of it. Whether an
// unanswered change happened, the events tell: it may have from its call until it was first seen.
// What nobody saw until the end happened to nobody.
func resolve(recorded []operation, events map[int64]event) (history []porcupine.Operation, errs []error) {
	claimed := map[int64]bool{}
	for _, op := range recorded {
		if !op.known {
			continue
		}
		history = append(history, op.linear(op.answer, op.finish))
		if !op.answer.changed {
			continue
		}
		revision := op.answer.revision
		if ev, seen := events[revision]; !seen || claimed[revision] || !ev.is(op.request) {
			errs = append(errs, fmt.Errorf("%v was acknowledged at revision %d, which has %v", op.request, revision, ev))
		}
		claimed[revision] = true
	}
	var left []int64
	for revision := range events {
		if !claimed[revision] {
			left = append(left, revision)
		}
	}
	sort.Slice(left, func(i, j int) bool { return left[i] < left[j] })
	unknown := unknownChanges(recorded)
	for _, revision := range left {
		ev := events[revision]
		// Deletes of a key are all alike; if any order of them fits, that of their calls does.
		able := unknown[ev.identity()]
		if len(able) == 0 || able[0].call > ev.at {
			errs = append(errs, fmt.Errorf("nobody asked for revision %d, which has %v", revision, ev))
			continue
		}
		unknown[ev.identity()] = able[1:]
		history = append(history, able[0].linear(answer{revision: revision, changed: true}, ev.at))
	}
	return history, errs
}

// unknownChanges are the changes without an answer, by what their event would be.
func unknownChanges(recorded []operation) map[event][]operation {
	unknown := map[event][]operation{}
	for _, op := range recorded {
		if !op.known && op.request.kind != get {
			identity := event{deleted: op.request.kind == remove, key: op.request.key, value: op.request.value}
			unknown[identity] = append(unknown[identity], op)
		}
	}
	for _, able := range unknown {
		sort.Slice(able, func(i, j int) bool { return able[i].call < able[j].call })
	}
	return unknown
}

func (ev event) identity() event {
	ev.at = 0
	return ev
}

func (ev event) is(q request) bool {
	return ev.deleted == (q.kind == remove) && ev.key == q.key && ev.value == q.value
}

func (op operation) linear(a answer, finish time.Duration) porcupine.Operation {
	return porcupine.Operation{
		ClientId: op.client, Input: op.request, Call: int64(op.call), Output: a, Return: int64(finish),
	}
}

// evidence logs what both sides know, for whoever asks why something stands still.
func (h *history) evidence() {
	var out strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&out, 1)
	h.t.Logf("goroutines of the clients:\n%s", out.String())
	for _, n := range h.c.nodes {
		if !n.runs() {
			continue
		}
		resp, err := n.web().Get(n.client + "/metrics")
		if err != nil {
			h.t.Logf("%s: %v", n.name, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		for _, line := range strings.Split(string(text), "\n") {
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket") && !strings.HasSuffix(line, " 0") {
				h.t.Logf("%s: %s", n.name, line)
			}
		}
		h.t.Logf("%s: %s", n.name, n.tail())
	}
}

// The checker takes what one store could have answered and nothing else.
func TestCheckerOfHistories(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Duration { return time.Duration(second) * time.Second }
	wrote := func(value string) event { return event{value: value, at: at(50)} }
	putting := func(from, to int, value string, revision int64) operation {
		op := operation{request: request{kind: put, value: value}, call: at(from), finish: at(to)}
		op.known, op.answer = revision > 0, answer{revision: revision, changed: revision > 0}
		return op
	}
	getting := func(from, to int, value string, revision, now int64) operation {
		op := operation{request: request{kind: get}, call: at(from), finish: at(to), known: true}
		op.answer = answer{revision: now, found: held{value, revision}}
		return op
	}
	both := map[int64]event{1: wrote("a"), 2: wrote("b")}
	for _, test := range []struct {
		what       string
		operations []operation
		events     map[int64]event
		want       bool
	}{
		{"a read of the last write", []operation{putting(0, 1, "a", 1), putting(2, 3, "b", 2), getting(4, 5, "b", 2, 2)}, both, true},
		{"a stale read", []operation{putting(0, 1, "a", 1), putting(2, 3, "b", 2), getting(4, 5, "a", 1, 1)}, both, false},
		{"a read beside a write", []operation{putting(0, 1, "a", 1), putting(2, 5, "b", 2), getting(3, 4, "a", 1, 1)}, both, true},
		{"writes in the wrong order", []operation{putting(2, 3, "a", 1), putting(0, 1, "b", 2)}, both, false},
		{"an unanswered write, seen", []operation{putting(0, 1, "a", 0), putting(2, 3, "b", 2), getting(4, 5, "b", 2, 2)}, both, true},
		{"an unanswered write, not seen", []operation{putting(0, 1, "c", 0), putting(2, 3, "a", 1)}, map[int64]event{1: wrote("a")}, true},
		{"an unanswered write, read and not seen", []operation{putting(0, 1, "c", 0), getting(2, 3, "c", 1, 1)}, nil, false},
		{"an acknowledged write, lost", []operation{putting(0, 1, "a", 1)}, nil, false},
		{"a write that nobody asked for", []operation{putting(0, 1, "a", 1)}, both, false},
		{"two writes at one revision", []operation{putting(0, 1, "a", 1), putting(0, 1, "a", 1)}, map[int64]event{1: wrote("a")}, false},
		{"a write before it was asked for", []operation{putting(60, math.MaxInt32, "a", 0)}, map[int64]event{1: wrote("a")}, false},
	} {
		history, errs := resolve(test.operations, test.events)
		if got := len(errs) == 0 && porcupine.CheckOperations(storeModel(storeState{}), history); got != test.want {
			t.Errorf("%s: %v, not %v", test.what, got, test.want)
		}
	}
}
