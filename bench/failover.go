package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// compareFailovers kills leaders of clusters of three and prints how long writes stopped.
func compareFailovers(o options, out io.Writer) error {
	var times [2][]time.Duration
	for round := range o.failovers {
		for _, which := range o.bins(round) {
			took, err := failover(o.bin(which))
			if err != nil {
				return fmt.Errorf("%s: %w", servers[which], err)
			}
			times[which] = append(times[which], took)
		}
	}
	fmt.Fprintf(out, "\n## Writes stop when the leader is killed (%d times, three members)\n\n", o.failovers)
	fmt.Fprintf(out, "| | etcd | ours | ratio |\n|---|---|---|---|\n")
	for _, at := range []struct {
		name string
		of   func([]time.Duration) time.Duration
	}{
		{"median", func(all []time.Duration) time.Duration { return all[len(all)/2] }},
		{"longest", func(all []time.Duration) time.Duration { return all[len(all)-1] }},
	} {
		slices.Sort(times[0])
		slices.Sort(times[1])
		theirs, ours := at.of(times[0]), at.of(times[1])
		fmt.Fprintf(out, "| %s | %v | %v | %.2f |\n", at.name, theirs.Round(time.Millisecond),
			ours.Round(time.Millisecond), float64(ours)/float64(theirs))
	}
	return nil
}

// failover is the time from killing a leader to the next write that another member acknowledges.
func failover(bin string) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	s, _, err := startCluster(bin, filepath.Join(dir, "data"), 3, nil)
	if err != nil {
		return 0, err
	}
	defer s.kill()
	leader := slices.Index(s.addrs, s.addr)
	other := s.addrs[(leader+1)%len(s.addrs)]
	conn, err := dial(other)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	put := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		_, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte("v")})
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); put() != nil; {
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("no write was acknowledged before the kill")
		}
	}
	if err := s.cmds[leader].Process.Kill(); err != nil {
		return 0, err
	}
	killed := time.Now()
	for put() != nil {
		if time.Since(killed) > 30*time.Second {
			return 0, fmt.Errorf("no write was acknowledged within 30 s of the kill")
		}
	}
	return time.Since(killed), nil
}
