package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// clockTicks is USER_HZ, the unit of the CPU times in /proc/PID/stat; Linux fixes it for programs.
const clockTicks = 100

// server is a running etcd-like member, or several that make a cluster, and what the kernel knows
// about their processes.
type server struct {
	cmds []*exec.Cmd
	// addrs are where the members serve clients; addr is the leader's.
	addrs []string
	addr  string
	dir   string
	done  chan struct{}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startServer starts bin on dir and returns once a linearizable read is answered, with the time
// that this took from the start of the process.
func startServer(bin, dir string, args []string) (*server, time.Duration, error) {
	return startCluster(bin, dir, 1, args)
}

// startCluster starts so many members, on directories beside dir where there are several.
func startCluster(bin, dir string, members int, args []string) (*server, time.Duration, error) {
	s := &server{dir: dir, done: make(chan struct{})}
	var clients, peers, cluster []string
	for i := range members {
		client, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		peer, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		s.addrs = append(s.addrs, fmt.Sprintf("127.0.0.1:%d", client))
		clients = append(clients, fmt.Sprintf("http://127.0.0.1:%d", client))
		peers = append(peers, fmt.Sprintf("http://127.0.0.1:%d", peer))
		cluster = append(cluster, fmt.Sprintf("bench%d=%s", i, peers[i]))
	}
	begin := time.Now()
	for i := range members {
		own := dir
		if i > 0 {
			own = fmt.Sprintf("%s-%d", dir, i)
		}
		all := append([]string{
			fmt.Sprintf("--name=bench%d", i), "--data-dir=" + own,
			"--listen-client-urls=" + clients[i], "--advertise-client-urls=" + clients[i],
			"--listen-peer-urls=" + peers[i], "--initial-advertise-peer-urls=" + peers[i],
			"--initial-cluster=" + strings.Join(cluster, ","), "--quota-backend-bytes=8000000000",
		}, args...)
		if err := s.start(bin, own, all); err != nil {
			s.kill()
			return nil, 0, err
		}
	}
	s.addr = s.addrs[0]
	if err := s.awaitRead(60 * time.Second); err != nil {
		s.kill()
		return nil, 0, fmt.Errorf("%s: %w; see %s.log", bin, err, dir)
	}
	took := time.Since(begin)
	if err := s.findLeader(30 * time.Second); err != nil {
		s.kill()
		return nil, 0, err
	}
	return s, took, nil
}

func (s *server) start(bin, dir string, args []string) error {
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmds = append(s.cmds, cmd)
	if len(s.cmds) == 1 {
		go func() { _ = cmd.Wait(); close(s.done) }()
	} else {
		go func() { _ = cmd.Wait() }()
	}
	return nil
}

// findLeader has addr name the leader.
func (s *server) findLeader(limit time.Duration) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, addr := range s.addrs {
			if s.leads(addr) {
				s.addr = addr
				return nil
			}
		}
	}
	return errors.New("no member leads")
}

func (s *server) leads(addr string) bool {
	conn, err := dial(addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	return err == nil && status.Leader == status.Header.MemberId
}

func (s *server) awaitRead(limit time.Duration) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		select {
		case <-s.done:
			return errors.New("the server ended")
		default:
		}
		if probe, err := net.DialTimeout("tcp", s.addr, time.Second); err == nil {
			probe.Close()
			if s.readOnce() == nil {
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return errors.New("the server did not answer a read in time")
}

func (s *server) readOnce() error {
	conn, err := dial(s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("ready")})
	return err
}

func dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (s *server) kill() {
	for _, cmd := range s.cmds {
		_ = cmd.Process.Kill()
	}
	if len(s.cmds) > 0 {
		<-s.done
	}
}

func (s *server) stop() error {
	for _, cmd := range s.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(60 * time.Second):
		s.kill()
		return errors.New("the server did not stop within 60 s of SIGTERM")
	}
}

// cpu is the user and system time that the server's processes have used so far.
func (s *server) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, cmd := range s.cmds {
		used, err := cpuOf(cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may hold spaces: count fields from behind it.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, errors.New("a short /proc/PID/stat")
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err1, err2)
}

// memory is resident memory now and at its highest since forgetPeak, in bytes, of all members.
func (s *server) memory() (now, peak int64) {
	for _, cmd := range s.cmds {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		for line := range strings.SplitSeq(string(raw), "\n") {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
				now += kb * 1024
			}
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
				peak += kb * 1024
			}
		}
	}
	return now, peak
}

// forgetPeak makes the kernel count the highest resident memory anew.
func (s *server) forgetPeak() {
	for _, cmd := range s.cmds {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", cmd.Process.Pid), []byte("5"), 0o200)
	}
}

func (s *server) fileBytes() int64 {
	info, err := os.Stat(filepath.Join(s.dir, "member", "snap", "db"))
	if err != nil {
		return 0
	}
	return info.Size()
}
