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

// server is one running etcd-like process and what the kernel knows about it.
type server struct {
	cmd  *exec.Cmd
	addr string
	dir  string
	done chan struct{}
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
	client, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	peer, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	clientURL := fmt.Sprintf("http://127.0.0.1:%d", client)
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", peer)
	log, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	all := append([]string{
		"--name=bench", "--data-dir=" + dir,
		"--listen-client-urls=" + clientURL, "--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=bench=" + peerURL, "--quota-backend-bytes=8000000000",
	}, args...)
	cmd := exec.Command(bin, all...)
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	s := &server{cmd: cmd, addr: fmt.Sprintf("127.0.0.1:%d", client), dir: dir, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.done) }()
	if err := s.awaitRead(60 * time.Second); err != nil {
		s.kill()
		return nil, 0, fmt.Errorf("%s: %w; see %s.log", bin, err, dir)
	}
	return s, time.Since(begin), nil
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
	_ = s.cmd.Process.Kill()
	<-s.done
}

func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		return nil
	case <-time.After(60 * time.Second):
		s.kill()
		return errors.New("the server did not stop within 60 s of SIGTERM")
	}
}

// cpu is the user and system time the server process has used so far.
func (s *server) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
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

// memory is resident memory now and at its highest since forgetPeak, in bytes.
func (s *server) memory() (now, peak int64) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	for line := range strings.SplitSeq(string(raw), "\n") {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			now = kb * 1024
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			peak = kb * 1024
		}
	}
	return now, peak
}

// forgetPeak makes the kernel count the highest resident memory anew.
func (s *server) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0o200)
}

func (s *server) fileBytes() int64 {
	info, err := os.Stat(filepath.Join(s.dir, "member", "snap", "db"))
	if err != nil {
		return 0
	}
	return info.Size()
}
