// Runs the real etcd and ours one after the other under the same load and prints ratios.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var (
	etcdPath = flag.String("etcd", "bin/etcd", "the reference's binary")
	oursPath = flag.String("ours", "../target/release/etcd", "our binary")
	duration = flag.Duration("duration", 4*time.Second, "time of each measurement")
	warmup   = flag.Duration("warmup", time.Second, "time before each measurement")
	keys     = flag.Int("load", 0, "also load this many keys and measure size and restart")
	connsMax = flag.Int("conns", 20, "connections at most")
)

const valueBytes = 256

// figure is one measurement of one server.
type figure struct {
	rate, p50us, p99us, cpuUs, rssMB float64
}

type process struct {
	cmd   *exec.Cmd
	url   string
	addr  string
	conns []*grpc.ClientConn
}

func main() {
	flag.Parse()
	rows := map[string][2]figure{}
	var order []string
	for side, bin := range []string{*etcdPath, *oursPath} {
		dir, err := os.MkdirTemp("", "bench")
		check(err)
		p := launch(bin, dir)
		for _, what := range []string{"put", "range"} {
			for _, clients := range []int{1, 100, 1000} {
				name := fmt.Sprintf("%s, %d clients", what, clients)
				if side == 0 {
					order = append(order, name)
				}
				row := rows[name]
				row[side] = p.measure(what, clients)
				rows[name] = row
				fmt.Fprintf(os.Stderr, "%-6s %-20s %+v\n", []string{"etcd", "ours"}[side], name, row[side])
			}
		}
		p.stop()
		check(os.RemoveAll(dir))
	}
	fmt.Println("| load | ops/s | p50 us | p99 us | server CPU us/op | RSS MB |")
	fmt.Println("|---|---|---|---|---|---|")
	cell := func(a, b float64) string { return fmt.Sprintf("%.0f / %.0f = **%.2f**", b, a, b/a) }
	for _, name := range order {
		a, b := rows[name][0], rows[name][1]
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", name, cell(a.rate, b.rate), cell(a.p50us, b.p50us),
			cell(a.p99us, b.p99us), cell(a.cpuUs, b.cpuUs), cell(a.rssMB, b.rssMB))
	}
	fmt.Println("\nEach cell: ours / etcd = ratio.")
	if *keys > 0 {
		size()
	}
}

// size loads keys and looks at memory, file and restart.
func size() {
	fmt.Printf("\n| %d keys of %d bytes | RSS MB | db MB | restart s |\n|---|---|---|---|\n", *keys, valueBytes)
	for side, bin := range []string{*etcdPath, *oursPath} {
		dir, err := os.MkdirTemp("", "bench")
		check(err)
		p := launch(bin, dir)
		p.load(*keys)
		rss := p.rssMB()
		info, err := os.Stat(dir + "/member/snap/db")
		check(err)
		p.stop()
		begun := time.Now()
		p = launch(bin, dir)
		_, err = pb.NewKVClient(p.conns[0]).Range(context.Background(), &pb.RangeRequest{Key: []byte("k")})
		check(err)
		restart := time.Since(begun).Seconds()
		fmt.Printf("| %s | %.0f (after restart %.0f) | %.0f | %.2f |\n", []string{"etcd", "ours"}[side], rss, p.rssMB(),
			float64(info.Size())/1e6, restart)
		p.stop()
		check(os.RemoveAll(dir))
	}
}

func (p *process) load(n int) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			kv := pb.NewKVClient(p.conns[w%len(p.conns)])
			for {
				from := int(next.Add(100)) - 100
				if from >= n {
					return
				}
				var ops []*pb.RequestOp
				for i := from; i < from+100; i++ {
					put := &pb.PutRequest{Key: []byte(fmt.Sprintf("/registry/load/%010d", i)), Value: make([]byte, valueBytes)}
					ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
				}
				_, err := kv.Txn(context.Background(), &pb.TxnRequest{Success: ops})
				check(err)
			}
		}()
	}
	wg.Wait()
}

func (p *process) measure(what string, clients int) figure {
	var stop atomic.Bool
	var counting atomic.Bool
	latencies := make([][]float64, clients)
	var wg sync.WaitGroup
	value := []byte(strings.Repeat("v", valueBytes))
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			kv := pb.NewKVClient(p.conns[c%min(len(p.conns), max(clients/10, 1))])
			for n := 0; !stop.Load(); n++ {
				key := []byte(fmt.Sprintf("key-%05d", (c*7919+n)%10000))
				begun := time.Now()
				var err error
				if what == "put" {
					_, err = kv.Put(context.Background(), &pb.PutRequest{Key: key, Value: value})
				} else {
					_, err = kv.Range(context.Background(), &pb.RangeRequest{Key: key})
				}
				check(err)
				if counting.Load() {
					latencies[c] = append(latencies[c], float64(time.Since(begun).Microseconds()))
				}
			}
		}()
	}
	time.Sleep(*warmup)
	cpu, begun := p.cpuSeconds(), time.Now()
	counting.Store(true)
	time.Sleep(*duration)
	counting.Store(false)
	elapsed, used := time.Since(begun).Seconds(), p.cpuSeconds()-cpu
	stop.Store(true)
	wg.Wait()
	var all []float64
	for _, l := range latencies {
		all = append(all, l...)
	}
	sort.Float64s(all)
	n := float64(len(all))
	return figure{n / elapsed, all[len(all)/2], all[len(all)*99/100], used * 1e6 / n, p.rssMB()}
}

func launch(bin, dir string) *process {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	p := &process{addr: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	p.url = "http://" + p.addr
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	p.cmd = exec.Command(bin, "--name=m", "--data-dir="+dir, "--listen-client-urls="+p.url, "--advertise-client-urls="+p.url,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=m="+peer, "--log-level=error")
	check(p.cmd.Start())
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		resp, err := http.Get(p.url + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begun) > time.Minute {
			check(fmt.Errorf("%s does not become healthy", bin))
		}
	}
	for range *connsMax {
		conn, err := grpc.NewClient(p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		check(err)
		p.conns = append(p.conns, conn)
	}
	return p
}

func (p *process) stop() {
	for _, conn := range p.conns {
		conn.Close()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpuSeconds is the time that the server's process has used, user and system.
func (p *process) cpuSeconds() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	check(err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	var user, system float64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	const ticks = 100
	return (user + system) / ticks
}

func (p *process) rssMB() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	check(err)
	for _, line := range strings.Split(string(text), "\n") {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			return kb / 1000
		}
	}
	return 0
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
