package interop

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalLines send signals to a member that runs.
func signalLines(testing.TB) []startLine {
	var lines []startLine
	for number := syscall.Signal(1); number <= 64; number++ {
		switch number {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
			// Whoever gets these has no say.
			continue
		}
		if number > 37 && number < 64 {
			continue
		}
		name := unix.SignalName(number)
		if name == "" {
			name = "signal " + number.String()
		}
		lines = append(lines, startLine{name: name, then: func(s *scene) { s.signal(number) }})
	}
	return append(lines,
		startLine{name: "TERM twice", then: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			s.signal(syscall.SIGTERM)
		}},
		startLine{name: "TERM of a server that does not sync", args: []string{"--unsafe-no-fsync=false"}, then: func(s *scene) { s.signal(syscall.SIGTERM) }},
		startLine{name: "TERM with an open connection", then: func(s *scene) {
			conn := s.connect()
			conn.Connect()
			s.signal(syscall.SIGTERM)
		}},
		startLine{name: "TERM after CONT", then: func(s *scene) {
			_ = s.cmd.Process.Signal(syscall.SIGSTOP)
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			s.signal(syscall.SIGCONT)
		}},
		startLine{name: "readiness is told", env: []string{"NOTIFY_SOCKET={dir}/notify"}, before: listenForNotices, then: hearNotice},
		startLine{name: "readiness is told to an abstract socket", env: []string{"NOTIFY_SOCKET=@{dir}/notify"}, before: listenForNotices, then: hearNotice},
		startLine{name: "nobody hears of readiness", env: []string{"NOTIFY_SOCKET={dir}/none"}},
		startLine{name: "an empty socket for readiness", env: []string{"NOTIFY_SOCKET="}},
		startLine{name: "a relative socket for readiness", env: []string{"NOTIFY_SOCKET=x"}},
	)
}

// signal sends one and notes whether the server ends by it, and how.
func (s *scene) signal(number syscall.Signal) {
	_ = s.cmd.Process.Signal(number)
	for begun := time.Now(); time.Since(begun) < endLimit; {
		select {
		case <-s.ended:
			s.facts[ends] = howItEnded(s.cmd)
			return
		case <-time.After(100 * time.Millisecond):
		}
		if s.isHealthy() && s.isHealthy() {
			return
		}
	}
	s.facts[ends] = "runs, and does not answer"
}

func listenForNotices(s *scene) {
	name := s.dir + "/notify"
	if strings.HasPrefix(s.line.env[0], "NOTIFY_SOCKET=@") {
		name = "@" + name
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	s.need(err)
	s.notices = conn
	s.others = append(s.others, func() { conn.Close() })
}

func hearNotice(s *scene) {
	var heard []string
	buffer := make([]byte, 4096)
	for {
		_ = s.notices.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := s.notices.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		s.need(err)
		heard = append(heard, strings.Split(string(buffer[:n]), "\n")...)
		if heard[len(heard)-1] == "READY=1" || strings.Contains(string(buffer[:n]), "READY=1") {
			s.fact("readiness", "told")
			return
		}
	}
	s.fact("readiness", "not told, but %q", heard)
}

// startLogLines are about where the log goes, in what form and how much of it.
func startLogLines(testing.TB) []startLine {
	var lines []startLine
	for _, args := range [][]string{
		{"--log-outputs=stdout"}, {"--log-outputs=stderr"}, {"--log-outputs=default"}, {"--log-outputs=stdout,stderr"},
		{"--log-outputs={dir}/a.log"}, {"--log-outputs={dir}/a.log,{dir}/b.log"}, {"--log-outputs={dir}/a.log,stderr"},
		{"--log-outputs=a.log"}, {"--log-outputs=file://{dir}/a.log"}, {"--log-outputs=/dev/stdout"}, {"--log-outputs=/dev/null"},
		{"--log-outputs={dir}/none/a.log"}, {"--log-outputs={dir}"}, {"--log-outputs=default,stderr"}, {"--log-outputs=default,default"},
		{"--log-outputs=stderr,stderr"}, {"--log-outputs="}, {"--log-outputs=,"}, {"--log-outputs=nonsense://x"},
		{"--log-outputs=Stdout"}, {"--log-outputs= stdout"}, {"--log-outputs=stdout,"},
		{"--log-level=debug"}, {"--log-level=info"}, {"--log-level=warn"}, {"--log-level=error"}, {"--log-level=panic"}, {"--log-level=dpanic"},
		{"--log-level=fatal"}, {"--log-level=WARN"}, {"--log-level=nonsense"}, {"--log-level="},
		{"--log-format=console"}, {"--log-format=console", "--log-outputs=stdout"}, {"--log-format=console", "--log-level=warn"},
		{"--log-format=console", "--log-outputs={dir}/a.log"}, {"--log-format=json", "--log-level=error", "--log-outputs=stdout"},
		{"--log-format=nonsense"}, {"--logger=capnslog"}, {"--logger=nonsense"}, {"--logger="},
		{"--enable-log-rotation", "--log-outputs=stderr"}, {"--enable-log-rotation=false", "--log-outputs={dir}/a.log"},
		{"--log-level=debug", "--log-outputs=stdout", "--log-format=console", "--election-timeout=1"},
		{"--log-outputs={dir}/a.log", "--election-timeout=1"},
	} {
		lines = append(lines, startLine{name: strings.Join(args, " "), args: args, then: whereTheLogIs})
	}
	lines = append(lines,
		startLine{name: "a log that is there already", args: []string{"--log-outputs={dir}/a.log"}, then: whereTheLogIs,
			before: func(s *scene) { s.need(os.WriteFile(s.dir+"/a.log", []byte("before\n"), 0o600)) }},
		startLine{name: "the settings by name", then: namesOfSettings},
		startLine{name: "the words of a life", args: []string{"--snapshot-count=10", "--snapshot-catchup-entries=5"}, then: wordsOfALife},
		startLine{name: "max-snapshots", args: []string{"--max-snapshots=3"}, then: warns("--max-snapshots is deprecated in 3.6")},
		startLine{name: "an unknown variable", env: []string{"ETCD_NONSENSE=1"}, then: warns("unrecognized environment variable")},
		startLine{name: "a variable for the version", env: []string{"ETCD_VERSION=1"}, then: warns("cannot set special environment variable")},
		startLine{name: "the default name", args: []string{"--name=default", "--initial-cluster=default={peer}"}, then: warns("it isn't recommended to use default name")},
		startLine{name: "a checkpoint that is not kept", args: []string{"--feature-gates=LeaseCheckpoint=true"}, then: warns("checkpointing is enabled without persistence")},
		startLine{name: "flags beside a file", config: "max-wals: 3\n", args: []string{"--max-wals=4"}, then: warns("other configuration command line flags and environment variables will be ignored if provided")},
		startLine{name: "a file in the data directory", then: warns("found invalid file under data directory"), before: func(s *scene) {
			s.need(errors.Join(os.MkdirAll(s.dir+"/data", 0o700), os.WriteFile(s.dir+"/data/x", nil, 0o600)))
		}},
		startLine{name: "the default data directory", bare: true, alone: []string{}, at: "127.0.0.1:2379", then: warns("'data-dir' was empty; using default")},
		startLine{name: "an unsafe server", then: warns("unsafe")},
		startLine{name: "a negative quota", args: []string{"--quota-backend-bytes=-1"}, then: warns("disabled backend quota")},
		startLine{name: "a great quota", args: []string{"--quota-backend-bytes=99999999999"}, then: warns("quota exceeds the maximum")},
		startLine{name: "certificates without use", args: []string{"--cert-file=/none", "--key-file=/none"}, then: warns("scheme is HTTP while key and cert files are present")},
		startLine{name: "client-cert-auth without use", args: []string{"--client-cert-auth", "--trusted-ca-file=/none"}, then: warns("scheme is HTTP while --client-cert-auth is enabled")},
	)
	return lines
}

// whereTheLogIs notes which outputs have lines of the log, of which levels and in which form. What is
// warned of differs; that there is something to tell does not.
func whereTheLogIs(s *scene) {
	logs, _ := filepath.Glob(s.dir + "/*.log")
	for _, path := range append(logs, s.logs+"/out", s.logs+"/err") {
		text, _ := os.ReadFile(path)
		told := map[string]bool{}
		for _, one := range sentences(string(text)) {
			switch {
			case one.level != "info" && one.level != "debug":
			case strings.HasPrefix(one.whole, "{"):
				told[one.level+" in json"] = true
			default:
				told[one.level+" in console"] = true
			}
		}
		s.fact("log in "+filepath.Base(path), "%v", sortedKeys(told))
	}
}

// warns notes whether the log has words, at whatever level.
func warns(words string) func(*scene) {
	return func(s *scene) {
		for range 100 {
			if strings.Contains(meaning(s.output()), meaning(words)) {
				s.fact("warns", "of %s", words)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		s.fact("warns", "not of %s", words)
	}
}

// namesOfSettings notes the fields of the first line.
func namesOfSettings(s *scene) {
	var names []string
	for fact := range s.facts {
		if name, isSetting := strings.CutPrefix(fact, setting); isSetting {
			names = append(names, name)
		}
	}
	for _, name := range names {
		s.fact("tells "+name, "yes")
	}
}
