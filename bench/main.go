// Command bench runs a real etcd and ours one after the other, under the same load, and prints
// both with their ratio. README.md says how to read it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type options struct {
	etcd, ours     string
	clients        []int
	only           string
	duration, warm time.Duration
	repeats        int
	sizeKeys       int
	skipLoad       bool
	members        int
	failovers      int
	out            string
}

func parse() (options, error) {
	o := options{}
	var clients string
	flag.StringVar(&o.etcd, "etcd", "../interop/bin/etcd", "the reference's program")
	flag.StringVar(&o.ours, "ours", oursByDefault(), "our program (or HOLDFAST_ETCD)")
	flag.StringVar(&clients, "clients", "1,100,1000", "numbers of clients")
	flag.StringVar(&o.only, "only", "", "run only the workloads whose name holds this")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "measured time of each workload")
	flag.DurationVar(&o.warm, "warm", time.Second, "time before measuring")
	flag.IntVar(&o.repeats, "repeats", 1, "rounds; the order of the servers changes each time")
	flag.IntVar(&o.sizeKeys, "size", 500_000, "keys of the size test; 0 leaves it out")
	flag.BoolVar(&o.skipLoad, "size-only", false, "the size test alone")
	flag.IntVar(&o.members, "members", 1, "members of the cluster; clients talk to its leader")
	flag.IntVar(&o.failovers, "failovers", 0, "leaders to kill in a cluster of three, and how long writes stop")
	flag.StringVar(&o.out, "out", "out", "directory of the report")
	flag.Parse()
	for text := range strings.SplitSeq(clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-clients: %q is not a number of clients", text)
		}
		o.clients = append(o.clients, n)
	}
	for _, bin := range []string{o.etcd, o.ours} {
		if _, err := os.Stat(bin); err != nil {
			return o, err
		}
	}
	return o, nil
}

func oursByDefault() string {
	if bin := os.Getenv("HOLDFAST_ETCD"); bin != "" {
		return bin
	}
	return "../target/release/etcd"
}

func main() {
	o, err := parse()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.out, time.Now().UTC().Format("20060102-150405")+".md")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := io.MultiWriter(os.Stdout, file)
	if !o.skipLoad {
		if err := compareLoads(o, out); err != nil {
			return err
		}
	}
	if o.failovers > 0 {
		if err := compareFailovers(o, out); err != nil {
			return err
		}
	}
	if o.sizeKeys > 0 {
		if err := compareSizes(o, out); err != nil {
			return err
		}
	}
	fmt.Println("report:", path)
	return nil
}

// bins is both servers in the order of round: etcd first in even rounds.
func (o options) bins(round int) []int {
	if round%2 == 0 {
		return []int{0, 1}
	}
	return []int{1, 0}
}

func (o options) bin(which int) string { return []string{o.etcd, o.ours}[which] }

func compareLoads(o options, out io.Writer) error {
	table := newLoadTable()
	for round := range o.repeats {
		for _, which := range o.bins(round) {
			if err := loadOne(o, which, table); err != nil {
				return err
			}
		}
	}
	table.print(out)
	return nil
}

// loadOne runs every workload on a fresh server and enters what came of it.
func loadOne(o options, which int, table *loadTable) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, _, err := startCluster(o.bin(which), filepath.Join(dir, "data"), o.members, nil)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := load(s, keySpace); err != nil {
		return err
	}
	for _, w := range workloads() {
		if !strings.Contains(w.name, o.only) {
			continue
		}
		for _, clients := range o.clients {
			fmt.Fprintf(os.Stderr, "%s: %s, %d clients\n", servers[which], w.name, clients)
			result, err := measure(s, w, clients, o.warm, o.duration)
			if err != nil {
				return err
			}
			table.add(row{w.name, clients}, which, result)
		}
	}
	return nil
}

// size is what the size test finds of one server.
type size struct {
	loaded             time.Duration
	rss, rssRestarted  int64
	file               int64
	restart, afterKill time.Duration
}

func compareSizes(o options, out io.Writer) error {
	var found [2]size
	for which := range found {
		fmt.Fprintf(os.Stderr, "%s: %d keys\n", servers[which], o.sizeKeys)
		one, err := sizeOne(o, o.bin(which))
		if err != nil {
			return err
		}
		found[which] = one
	}
	printSizes(out, o.sizeKeys, found)
	return nil
}

func sizeOne(o options, bin string) (size, error) {
	var found size
	dir, err := os.MkdirTemp("", "bench-size-")
	if err != nil {
		return found, err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	s, _, err := startServer(bin, data, nil)
	if err != nil {
		return found, err
	}
	defer func() { s.kill() }()
	begin := time.Now()
	if err := load(s, o.sizeKeys); err != nil {
		return found, err
	}
	found.loaded = time.Since(begin)
	found.rss, _ = s.memory()
	if err := s.stop(); err != nil {
		return found, err
	}
	found.file = s.fileBytes()
	again, took, err := startServer(bin, data, nil)
	if err != nil {
		return found, err
	}
	s, found.restart = again, took
	found.rssRestarted, _ = s.memory()
	s.kill()
	again, took, err = startServer(bin, data, nil)
	if err != nil {
		return found, err
	}
	s, found.afterKill = again, took
	return found, nil
}
