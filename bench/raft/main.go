// Command raft sets our raft crate beside go.etcd.io/raft in one run: one group in memory, driven the
// same way by both. See bench/README.md.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

var discard = log.New(io.Discard, "", 0)

// shape is what one run does.
type shape struct {
	entries, bytes, atOnce, members int
	async                           bool
}

// args are the command line of the Rust program, and of this one as a child.
func (s shape) args() []string {
	mode := "turns"
	if s.async {
		mode = "async"
	}
	numbers := []int{s.entries, s.bytes, s.atOnce, s.members}
	var args []string
	for _, number := range numbers {
		args = append(args, strconv.Itoa(number))
	}
	return append(args, mode)
}

func parseShape(args []string) shape {
	var numbers [4]int
	for i := range numbers {
		number, err := strconv.Atoi(args[i])
		must(err)
		numbers[i] = number
	}
	return shape{numbers[0], numbers[1], numbers[2], numbers[3], args[4] == "async"}
}

// outcome is what one run took.
type outcome struct {
	entries, messages  uint64
	seconds, processor float64
}

func (o outcome) perSecond() float64 { return float64(o.entries) / o.seconds }
func (o outcome) nanosEach() float64 { return o.processor * 1e9 / float64(o.entries) }

func (o outcome) print() {
	fmt.Printf("entries %d\nmessages %d\nseconds %.3f\nprocessor %.3f\n", o.entries, o.messages, o.seconds, o.processor)
}

// run starts a program that does one shape and reads what it prints.
func run(program string, args ...string) outcome {
	command := exec.Command(program, args...)
	command.Stderr = os.Stderr
	printed, err := command.Output()
	must(err)
	var o outcome
	lines := bufio.NewScanner(bytes.NewReader(printed))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "entries":
			o.entries = uint64(number)
		case "messages":
			o.messages = uint64(number)
		case "seconds":
			o.seconds = number
		case "processor":
			o.processor = number
		}
	}
	return o
}

func median(outcomes []outcome, of func(outcome) float64) float64 {
	var values []float64
	for _, o := range outcomes {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// compare runs a shape with both libraries in turn and prints one row.
func compare(ours string, s shape, rounds int) {
	var theirs, us []outcome
	self, err := os.Executable()
	must(err)
	for round := range rounds {
		for turn := range 2 {
			if (round+turn)%2 == 0 {
				theirs = append(theirs, run(self, append([]string{"-child"}, s.args()...)...))
			} else {
				us = append(us, run(ours, s.args()...))
			}
		}
		if theirs[round].entries != us[round].entries || theirs[round].messages != us[round].messages {
			fmt.Fprintf(os.Stderr, "not the same work: %+v and %+v\n", theirs[round], us[round])
			os.Exit(1)
		}
	}
	perSecond, perSecondUs := median(theirs, outcome.perSecond), median(us, outcome.perSecond)
	nanos, nanosUs := median(theirs, outcome.nanosEach), median(us, outcome.nanosEach)
	each := float64(us[0].messages) / float64(us[0].entries)
	fmt.Printf("%-6s %7d %7d %9.2f %11.0f %11.0f %6.2f %9.0f %9.0f %6.2f\n", s.args()[4], s.members, s.atOnce, each,
		perSecond, perSecondUs, perSecondUs/perSecond, nanos, nanosUs, nanosUs/nanos)
}

func main() {
	child := flag.Bool("child", false, "run one shape of the reference's library")
	ours := flag.String("ours", "", "the example throughput of crates/raft")
	rounds := flag.Int("rounds", 5, "rounds, the order alternating")
	size := flag.Int("bytes", 256, "bytes of an entry")
	entries := flag.Int("entries", 2_000_000, "entries of each run; a third for groups of three")
	flag.Parse()
	if *child {
		runGroup(parseShape(flag.Args())).print()
		return
	}
	fmt.Printf("%-6s %7s %7s %9s %11s %11s %6s %9s %9s %6s\n", "mode", "members", "at once", "msg/entry",
		"Go entr/s", "entries/s", "ratio", "Go ns/e", "ns/entry", "ratio")
	for _, async := range []bool{false, true} {
		for _, members := range []int{1, 3} {
			for _, atOnce := range []int{1, 16, 256} {
				compare(*ours, shape{*entries / members, *size, atOnce, members, async}, *rounds)
			}
		}
	}
}
