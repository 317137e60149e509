package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

var servers = [2]string{"etcd", "ours"}

type row struct {
	workload string
	clients  int
}

// loadTable gathers the outcomes of all rounds, by row and server.
type loadTable struct {
	order   []row
	results map[row]*[2][]outcome
}

func newLoadTable() *loadTable { return &loadTable{results: map[row]*[2][]outcome{}} }

func (t *loadTable) add(r row, which int, o outcome) {
	if t.results[r] == nil {
		t.results[r] = &[2][]outcome{}
		t.order = append(t.order, r)
	}
	t.results[r][which] = append(t.results[r][which], o)
}

// column is one figure of an outcome and how it is written.
type column struct {
	name  string
	of    func(outcome) float64
	write func(float64) string
}

func columns() []column {
	micros := func(v float64) string { return fmt.Sprintf("%.0f us", v) }
	mebi := func(v float64) string { return fmt.Sprintf("%.0f MiB", v) }
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	return []column{
		{"ops/s", func(o outcome) float64 { return o.opsPerSecond }, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
		{"p50", func(o outcome) float64 { return us(o.p50) }, micros},
		{"p99", func(o outcome) float64 { return us(o.p99) }, micros},
		{"CPU/op", func(o outcome) float64 { return us(o.cpuPerOp) }, func(v float64) string { return fmt.Sprintf("%.1f us", v) }},
		{"peak memory", func(o outcome) float64 { return mib(o.rssPeak) }, mebi},
		{"memory after", func(o outcome) float64 { return mib(o.rssLast) }, mebi},
	}
}

func median(outcomes []outcome, of func(outcome) float64) float64 {
	var all []float64
	for _, o := range outcomes {
		all = append(all, of(o))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// print writes one row per workload: etcd's figure, ours, and ours / etcd.
func (t *loadTable) print(out io.Writer) {
	if len(t.order) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Load\n\nEach cell: etcd, ours, ours/etcd.\n\n| workload | clients |")
	for _, c := range columns() {
		fmt.Fprintf(out, " %s |", c.name)
	}
	fmt.Fprint(out, "\n|---|---|")
	for range columns() {
		fmt.Fprint(out, "---|")
	}
	fmt.Fprintln(out)
	for _, r := range t.order {
		fmt.Fprintf(out, "| %s | %d |", r.workload, r.clients)
		for _, c := range columns() {
			etcd, ours := median(t.results[r][0], c.of), median(t.results[r][1], c.of)
			fmt.Fprintf(out, " %s, %s, **%.2f** |", c.write(etcd), c.write(ours), ours/etcd)
		}
		fmt.Fprintln(out)
	}
}

func printSizes(out io.Writer, keys int, found [2]size) {
	fmt.Fprintf(out, "\n## %d keys of %d bytes\n\n| | etcd | ours | ours/etcd |\n|---|---|---|---|\n", keys, valueBytes)
	line := func(name, unit string, etcd, ours float64) {
		fmt.Fprintf(out, "| %s | %.2f %s | %.2f %s | **%.2f** |\n", name, etcd, unit, ours, unit, ours/etcd)
	}
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	a, b := found[0], found[1]
	line("loading", "s", a.loaded.Seconds(), b.loaded.Seconds())
	line("memory after loading", "MiB", mib(a.rss), mib(b.rss))
	line("file", "MiB", mib(a.file), mib(b.file))
	line("restart after SIGTERM", "s", a.restart.Seconds(), b.restart.Seconds())
	line("memory after restart", "MiB", mib(a.rssRestarted), mib(b.rssRestarted))
	line("restart after SIGKILL", "s", a.afterKill.Seconds(), b.afterKill.Seconds())
}
