package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// readyLimit is how long a server may take that is expected to get ready or end.
	readyLimit = 20 * time.Second
	// waitLimit is after which one waits that is expected to.
	waitLimit = 2500 * time.Millisecond
	// endLimit is how long a server may take to end.
	endLimit = 10 * time.Second
)

// clientSide is what a client needs for a server with TLS.
type clientSide = tls.Config

// place is an address and a directory, both for one line at a time and the same for both servers, so
// that everything that follows from them is the same.
type place struct{ ip, dir, logs string }

var placesGiven atomic.Int64

func newPlace(root string) *place {
	n := placesGiven.Add(1)
	dir := filepath.Join(root, fmt.Sprint(n))
	ip := fmt.Sprintf("127.%d.%d.%d", 16+os.Getpid()%200, n/250, 1+n%250)
	return &place{ip: ip, dir: filepath.Join(dir, "work"), logs: filepath.Join(dir, "logs")}
}

func (p *place) remove() { _ = os.RemoveAll(filepath.Dir(p.dir)) }

// run starts a server by a line and tells what became of it. One that is not ready within the limit
// waits.
func (p *place) run(bin, reference string, line *startLine, limit time.Duration) (out started) {
	for _, dir := range []string{p.dir, p.logs} {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
			return started{ends: err.Error()}
		}
	}
	s := &scene{place: p, line: line, bin: bin, reference: reference, facts: started{}, limit: limit}
	defer s.clear()
	defer func() {
		if failed, isFault := recover().(sceneFault); isFault {
			s.facts[ends] = failed.Error()
			out = s.facts
		}
	}()
	s.play()
	return s.facts
}

// scene is one server started by one line.
type scene struct {
	*place
	line           *startLine
	bin, reference string
	facts          started
	limit          time.Duration
	cmd            *exec.Cmd
	// ended is closed when the server is gone.
	ended chan struct{}
	// others are to end with the scene.
	others []func()
	// without is a fact that is not noted, for it is a matter of moments.
	without string
	// holder tells another server that has the directory to go.
	holder func(syscall.Signal)
	// notices is where the server tells that it is ready.
	notices *net.UnixConn
}

// sceneFault is an error of the test itself.
type sceneFault struct{ error }

// need ends the scene when something failed that must not.
func (s *scene) need(err error) {
	if err != nil {
		panic(sceneFault{fmt.Errorf("the test failed: %w", err)})
	}
}

// fact notes what was found out.
func (s *scene) fact(what, format string, args ...any) {
	s.facts[what] = s.neutral(fmt.Sprintf(format, args...))
}

func (s *scene) expand(text string) string {
	return strings.NewReplacer(
		"{ip}", s.ip, "{dir}", s.dir, "{client}", "http://"+s.ip+":2379", "{peer}", "http://"+s.ip+":2380",
	).Replace(text)
}

// neutral puts the placeholders back.
func (s *scene) neutral(text string) string {
	return strings.NewReplacer(s.dir, "{dir}", s.logs, "{logs}", s.ip, "{ip}").Replace(text)
}

func (s *scene) clear() {
	s.kill()
	for _, end := range s.others {
		end()
	}
}

func (s *scene) play() {
	if s.line.before != nil {
		s.line.before(s)
	}
	s.start()
	state := s.await(s.limit)
	if state == waiting && s.line.whileWaiting != nil {
		s.line.whileWaiting(s)
		state = s.await(readyLimit)
	}
	s.facts[ends] = state
	if state == runs {
		s.observe()
		if s.line.then != nil {
			s.line.then(s)
		}
		s.kill()
	} else {
		s.kill()
		if state != waiting {
			s.facts[said] = s.neutral(s.output())
		}
	}
	if s.without != files {
		s.fact(files, "%s", s.fileList())
	}
}

// baseSettings are what lines have that do not say otherwise.
var baseSettings = [][2]string{
	{"name", "m"}, {"data-dir", "{dir}/data"}, {"initial-cluster", "m={peer}"},
	{"listen-client-urls", "{client}"}, {"advertise-client-urls", "{client}"},
	{"listen-peer-urls", "{peer}"}, {"initial-advertise-peer-urls", "{peer}"},
	{"heartbeat-interval", "10"}, {"election-timeout", "100"}, {"unsafe-no-fsync", "true"},
}

// sets tells whether a line has a setting of its own.
func (l *startLine) sets(name string) bool {
	variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "="
	for _, one := range l.env {
		if value, found := strings.CutPrefix(one, variable); found && value != "" {
			return true
		}
	}
	for _, arg := range l.args {
		given, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && given == name {
			return true
		}
	}
	key := regexp.MustCompile(`(?m)^["']?` + regexp.QuoteMeta(name) + `["']?\s*:`)
	return key.MatchString(l.config)
}

// words are the flags, and the configuration file if there is one.
func (s *scene) words() []string {
	var args, keys []string
	for _, base := range baseSettings {
		if s.line.bare || s.line.sets(base[0]) {
			continue
		}
		args = append(args, "--"+base[0]+"="+base[1])
		quoted := base[1]
		if strings.ContainsAny(quoted, "/={") {
			quoted = "'" + quoted + "'"
		}
		keys = append(keys, base[0]+": "+quoted+"\n")
	}
	if s.line.config != "" {
		text := s.line.config
		if !s.line.bare && strings.HasPrefix(text, "\ufeff") {
			text = "\ufeff" + strings.Join(keys, "") + strings.TrimPrefix(text, "\ufeff")
		} else if !s.line.bare {
			text = strings.Join(keys, "") + text
		}
		path := filepath.Join(s.logs, "etcd.yml")
		s.need(os.WriteFile(path, []byte(s.expand(text)), 0o600))
		args = []string{"--config-file=" + path}
	}
	args = append(args, s.line.args...)
	for n := range args {
		args[n] = s.expand(args[n])
	}
	return args
}

// isolated gives a command a network namespace, and its addresses, before it becomes the server.
const isolated = `ip link set lo up
for address in $ADDRESSES; do ip addr add "$address" dev lo nodad; done
unset ADDRESSES
exec "$@"`

func (s *scene) start() {
	words := append([]string{s.bin}, s.words()...)
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	for _, one := range s.line.env {
		env = append(env, s.expand(one))
	}
	if s.line.alone != nil {
		words = append([]string{"unshare", "-n", "sh", "-c", isolated, "sh"}, words...)
		env = append(env, "ADDRESSES="+strings.Join(s.line.alone, " "))
	}
	s.cmd, s.ended = s.launch(words, env)
}

// launch starts a process in the working directory, with its output among the logs.
func (s *scene) launch(words, env []string) (*exec.Cmd, chan struct{}) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, env
	for name, to := range map[string]*io.Writer{"out": &cmd.Stdout, "err": &cmd.Stderr} {
		file, err := os.OpenFile(filepath.Join(s.logs, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		s.need(err)
		defer file.Close()
		*to = file
	}
	s.need(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return cmd, ended
}

func (s *scene) output() string {
	err, _ := os.ReadFile(filepath.Join(s.logs, "err"))
	out, _ := os.ReadFile(filepath.Join(s.logs, "out"))
	return string(out) + string(err)
}

// await waits until a server is ready, or gone, or has waited for long enough.
func (s *scene) await(limit time.Duration) string {
	ready := []byte("ready to serve client requests")
	for begun, n := time.Now(), 1; time.Since(begun) < limit; n++ {
		select {
		case <-s.ended:
			return howItEnded(s.cmd)
		case <-time.After(20 * time.Millisecond):
		}
		if bytes.Contains([]byte(s.output()), ready) || n%10 == 0 && s.isHealthy() {
			return runs
		}
	}
	return waiting
}

func howItEnded(cmd *exec.Cmd) string {
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return "signal: " + status.Signal().String()
	}
	return fmt.Sprint("exit ", status.ExitStatus())
}

// end waits for the end and tells how it was.
func (s *scene) end() string {
	select {
	case <-s.ended:
		return howItEnded(s.cmd)
	case <-time.After(endLimit):
		return "goes on"
	}
}

func (s *scene) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// address is where clients find the server.
func (s *scene) address() string {
	if s.line.at != "" {
		return s.expand(s.line.at)
	}
	return s.ip + ":2379"
}

func (s *scene) isHealthy() bool {
	said, err := s.fetch("/health", 500*time.Millisecond)
	return err == nil && strings.Contains(said, `"health":"true"`)
}

// get fetches a page from the client port.
func (s *scene) get(path string) (string, error) { return s.fetch(path, 5*time.Second) }

func (s *scene) fetch(path string, limit time.Duration) (string, error) {
	scheme := "http"
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, s.address()) },
		DisableKeepAlives: true,
	}
	if s.line.secure != nil {
		scheme, transport.TLSClientConfig = "https", s.line.secure(s)
	}
	web := http.Client{Transport: transport, Timeout: limit}
	resp, err := web.Get(scheme + "://" + s.ip + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(body)), err
}

// connect is a gRPC connection to the client port.
func (s *scene) connect() *grpc.ClientConn {
	creds := insecure.NewCredentials()
	if s.line.secure != nil {
		creds = credentials.NewTLS(s.line.secure(s))
	}
	conn, err := grpc.NewClient("passthrough:///"+s.ip, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.dial(ctx, s.address()) }))
	s.need(err)
	s.others = append(s.others, func() { conn.Close() })
	return conn
}

func (s *scene) dial(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	if s.line.alone == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return dialWithin(ctx, s.cmd.Process.Pid, network, address)
}

// dialWithin connects from within the network of a process: the thread that makes the socket is there
// for that long. One that cannot be brought back is given up, locked.
func dialWithin(ctx context.Context, pid int, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer home.Close()
		there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer there.Close()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		// Numbers are dialled at once and from this thread.
		conn, err := (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{conn, err}
	}()
	got := <-done
	return got.conn, got.err
}
