package interop

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// quick makes a call end soon where nobody answers.
const quick = "--command-timeout=300ms"

// ctlRules are command lines that no server is needed for, or that find none.
var ctlRules = []step{
	// What names the command.
	"", "\\e", "member", "lease", "endpoint", "snapshot", "alarm", "downgrade", "member bogus", "lease bogus",
	"endpoint bogus", "endpoint --cluster", "endpoint bogus --cluster", "snapshot status x", "snapshot restore",
	"mem", "snap", "member bogus --bogus", "member --bogus", "member -z", "endpoint --cluster=maybe",
	"help", "help get", "help member", "help member add", "help member bogus", "help bogus", "member help",
	"-h", "--help", "get -h", "get --help", "get a --help", "--help get", "-h get", "member -h", "member add -h", "--help member list",
	"gett", "gte", "del-x", "snapshott", "watvh", "txnn", "nonsense", "d", "ge", "mo " + quick, "wat",
	"l", "e", "c", "co", "a", "me", "help l", "help c", "get --help=false", "get a --help=0 " + quick, "member --help=false",
	"get --help=x", "-h=maybe", "get --help --help=f", "get --bogus --help", "get --help --bogus", "get a --help=true", "version --help=false",
	"-- get a", "get -- a " + quick, "get -- " + quick, "get -- a -w json " + quick, "--bogus", "--bogus get", "-z",
	// Flags stand anywhere.
	quick + " get a", "get " + quick + " a", "get a " + quick, "get a --command-timeout 300ms", "-w json get a " + quick,
	"get -wjson a " + quick, "get a -w=json " + quick, "lease grant 2 -w json " + quick, "lease " + quick + " grant -w json 2",
	"--prefix=true get a " + quick, "member -w json list " + quick, "put " + quick + " a b -w fields", "del a --prefix " + quick,
	"get a - " + quick, "put a -- -b " + quick, "endpoint --cluster health " + quick, "lease grant -- -1 " + quick,
	// Flags that are wrong.
	"get a --bogus", "get a -z", "get a -zx", "get -w", "get a --command-timeout", "--command-timeout", "--command-timeout get",
	"get a -w nonsense " + quick, "put a b -w= " + quick, "get a --dial-timeout=x", "get a --dial-timeout x", "get a --dial-timeout=1", "get a --dial-timeout=",
	"get a --keepalive-time=1h1 ", "get a --limit=x", "get a --limit=99999999999999999999", "get a --limit=0x10 " + quick,
	"get a --limit=1_0 " + quick, "get a --limit=017 " + quick, "get a --prefix=maybe", "get a --prefix=1 " + quick, "get a --prefix=T " + quick,
	"get a --hex=maybe", "get a --insecure-transport=x", "get a --max-request-bytes=x", "get a --max-request-bytes=-1 " + quick,
	"get a --max-recv-bytes=-1 " + quick, "get --=x", "get a ---x", "get a -=x", "lease grant -1", "compaction -1",
	"get a --endpoints= " + quick, "get a --user= " + quick, "get a --user=x: " + quick, "get a --user=x:y --password=z --dial-timeout=300ms",
	"get a --user=x:y --dial-timeout=300ms", "get a --password=z " + quick, "get a --auth-jwt-token=t " + quick,
	// Files that are none.
	"get a --cacert=/nowhere " + quick, "get a --cacert=/tmp " + quick, "get a --cacert=/dev/null " + quick,
	"get a --cert=/tmp --key=/tmp " + quick, "get a --cert=/nowhere " + quick, "get a --key=/nowhere " + quick,
	// Nobody answers.
	"put a b " + quick, "del a " + quick, "member list " + quick, "lease grant 5 " + quick, "lease revoke 5 " + quick,
	"compaction 5 " + quick, "alarm list " + quick, "alarm disarm " + quick, "defrag " + quick, "defrag --cluster " + quick,
	"endpoint health " + quick, "endpoint status " + quick, "endpoint hashkv " + quick, "endpoint health --cluster " + quick,
	"move-leader 1 " + quick, "downgrade validate 3.6 " + quick, "downgrade cancel " + quick, "get a --stream " + quick,
	"member add a --peer-urls=http://x:1 " + quick, "member promote 1 " + quick, "snapshot save /tmp/none-of-them " + quick,
	"get a --endpoints=https://127.0.0.1:1 " + quick, "get a --endpoints=unix:///nowhere " + quick,
	"get a --endpoints=nohost.invalid:2379 " + quick, "get a --endpoints=127.0.0.1:1,127.0.0.1:2 " + quick,
	// Too few and too many arguments.
	"get", "get a b c " + quick, "put", "put a b c " + quick, "del", "del a b c", "del a b --prefix", "txn x", "txn -i x",
	"compaction", "compaction 1 2", "compaction x", "watch", "watch a b --prefix", "watch a --", "watch --",
	"lease grant", "lease grant 1 2", "lease grant x", "lease revoke", "lease revoke 1 2", "lease timetolive", "lease timetolive 1 2",
	"lease timetolive --keys", "lease keep-alive", "lease keep-alive 1 2", "lease list x --bogus",
	"member add", "member add a b", "member add a http://b", "member add a --peer-urls=", "member remove", "member remove x",
	"member remove 1 2", "member update", "member update 1", "member update x --peer-urls=http://a:1", "member promote", "member promote xyz",
	"member list x " + quick, "endpoint health x " + quick, "endpoint status x " + quick, "endpoint hashkv x " + quick, "defrag x " + quick,
	"alarm list x", "alarm disarm x", "snapshot save", "snapshot save a b", "move-leader", "move-leader x", "move-leader 1 2",
	// Lines of a transaction that want more of standard input than there is.
	"txn | \\nput~a\\n\\n", "txn | \\nput~a\\nget~b\\n\\n\\n", "txn | \\n\\nput~a\\n\\n", "txn | \\nput\\n\\n", "txn | \\nput~a", "txn",
	"downgrade validate", "downgrade enable", "downgrade validate a b", "downgrade cancel x " + quick, "version x", "version -w json", "version --bogus",
}

// utlRules are those of etcdutl.
var utlRules = []step{
	"", "\\e", "snapshot", "snapshot bogus", "snapshot -h", "snapshot statu /nowhere", "snapsho", "snapshott", "statu", "nonsense", "migrat",
	"migrat --bogus", "migrate", "migrate --data-dir=/nowhere", "migrate --data-dir=/nowhere --target-version=3.6",
	"migrate --target-version 3.6 --data-dir /nowhere", "migrate x --data-dir=/nowhere --target-version=x", "migrate --target-version",
	"defrag", "defrag x", "defrag --data-dir", "defrag --data-dir=/nowhere", "hashkv", "hashkv a b", "hashkv /nowhere", "hashkv /nowhere --rev=x",
	"hashkv --rev 5 /nowhere", "hashkv /nowhere --rev 5", "hashkv /nowhere -w nonsense", "snapshot status", "snapshot status a b",
	"snapshot status /nowhere", "snapshot status -w json /nowhere", "snapshot status /tmp", "snapshot restore", "snapshot restore a b",
	"snapshot restore /nowhere --data-dir=/tmp", "snapshot restore /nowhere --bump-revision=1", "snapshot restore /nowhere --mark-compacted",
	"snapshot restore /nowhere --bump-revision=x", "snapshot restore /nowhere --bump-revision=-1", "snapshot restore /nowhere --initial-cluster=x",
	"snapshot restore /tmp --data-dir=/tmp/none-of-them", "snapshot restore /dev/null --data-dir=/tmp/none-of-them",
	"version", "version x", "version -w json", "-w json version", "--bogus", "-z", "--timeout=x version", "--timeout version", "version --timeout",
	"completion", "completion bash x", "completion nonsense", "help", "help snapshot", "help snapshot restore", "help bogus", "-- version",
}

// byMeaning is an outcome without what each program words for itself: help is help, usage is dropped, an
// error counts once, and of the commands that are suggested those count that both have.
func byMeaning(o outcome) outcome {
	if regexp.MustCompile(`(?m)^(NAME:|Usage:)`).MatchString(o.stdout) {
		o.stdout = "help"
	}
	var errors []string
	for _, line := range strings.Split(o.errors, "\n") {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "Error: unknown shorthand flag: ") {
			// What follows the letter may be a password, which ours does not show.
			text, _, _ = strings.Cut(text, " in -")
		}
		switch {
		case text == "check", text == "completion", text == "lock", text == "elect", text == "auth", text == "role", text == "user", text == "options", text == "make-mirror":
			continue
		case len(errors) > 0 && slicesContain(errors, text), strings.Contains(text, "\tinfo\t"):
			continue
		}
		errors = append(errors, text)
	}
	o.errors = strings.Join(errors, "\n")
	return o
}

func slicesContain(all []string, one string) bool {
	for _, other := range all {
		if other == one {
			return true
		}
	}
	return false
}

// rules compares both programs by a table of lines.
func rules(t *testing.T, reference, mine string, lines []step, head ...string) {
	t.Helper()
	for _, line := range lines {
		args, stdin := line.parts()
		if strings.Contains(string(line), `\e`) {
			args = []string{""}
		}
		outcomes := map[string]outcome{}
		for _, bin := range []string{reference, mine} {
			cmd := exec.Command(bin, append(append([]string{}, head...), args...)...)
			cmd.Stdin = strings.NewReader(stdin)
			outcomes[bin] = byMeaning(ctlOutcome(t, cmd))
		}
		if want, got := outcomes[reference], outcomes[mine]; want != got {
			t.Errorf("%s\n theirs: %d %q\n         %q\n ours:   %d %q\n         %q", line,
				want.code, want.stdout, want.errors, got.code, got.stdout, got.errors)
		}
	}
}

// TestEtcdctlRules compares how both etcdctls read command lines, and what they say without a server.
func TestEtcdctlRules(t *testing.T) {
	rules(t, tool(t, "etcdctl"), oursCtl(t), ctlRules)
}

// TestEtcdutlRules compares how both etcdutls read command lines.
func TestEtcdutlRules(t *testing.T) {
	rules(t, tool(t, "etcdutl"), filepath.Join(filepath.Dir(oursCtl(t)), "etcdutl"), utlRules)
}

// TestEtcdctlSaysWhyNobodyAnswers looks for the reason and the address on standard error.
func TestEtcdctlSaysWhyNobodyAnswers(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		for _, line := range []string{"get a", "put a b", "member list", "endpoint status", "endpoint health", "defrag", "snapshot save /tmp/none-of-them"} {
			cmd := exec.Command(bin, append([]string{"--endpoints=" + address, quick}, strings.Fields(line)...)...)
			said, _ := cmd.CombinedOutput()
			if !strings.Contains(string(said), "dial tcp "+address+": connect: connection refused") {
				t.Errorf("%s %s: %s", bin, line, said)
			}
		}
	}
}

// TestEtcdctlShowsNoSecret looks for passwords in whatever is printed.
func TestEtcdctlShowsNoSecret(t *testing.T) {
	secret := "s3cr3t-of-mine"
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	lines := []string{
		"--help", "get --help", "help user", "get a", "--debug get a", "get a --bogus", "get", "endpoint status", "endpoint health",
		"--endpoints=http://root:" + secret + "@" + address + " endpoint status", "--endpoints=http://root:" + secret + "@" + address + " endpoint health",
		"--endpoints=ftp://root:" + secret + "@" + address + " get a", "--endpoints=http://root:" + secret + "@" + address + ",x:1 snapshot save /tmp/none-of-them",
		"--endpoints=http://root:" + secret + "@" + address + " defrag",
		// In odd places and spellings.
		"--endpoints=root:" + secret + "@" + address + " get a", "--endpoints=http://root:" + secret + "/x@" + address + " get a",
		"--endpoints=http://root:" + secret + ",x@" + address + " get a", "--endpoints=http://root:" + secret + "#x@" + address + " endpoint status",
		"--endpoints=x:1,root:" + secret + "@" + address + " endpoint health", "--endpoints=https://root:" + secret + "@" + address + " get a",
		"--endpoints root:" + secret + "@" + address + " watch a", "--endpoints root:" + secret + "@" + address + " move-leader 1",
		"--user:root:" + secret + " get k", "--user:root:" + secret + " version", "--pasword=" + secret + " version", "---password=" + secret + " get a", "--=root:" + secret + " get a",
		"-uroot:" + secret + " get a", "-p" + secret + " get a", "root:" + secret + " get a", "help root:" + secret,
		"--hex=root:" + secret + " get a", "--dial-timeout=root:" + secret + " get a", "--max-recv-bytes root:" + secret + " get a", "--help=root:" + secret,
		"get a --order=root:" + secret, "get a --sort-by=root:" + secret, "get a --consistency=root:" + secret, "put a b --lease=root:" + secret,
		"--discovery-srv=root:" + secret + "@x.invalid get a", "member add m --peer-urls=http://root:" + secret + "@h",
		"member add m --peer-urls=http://root:" + secret + "/x@h:1", "member update 1 --peer-urls=http://root:" + secret + ",x@h:1", "-w=root:" + secret + " get a",
	}
	environments := [][]string{
		{"ETCDCTL_PASSWORD=" + secret, "ETCDCTL_USER=root"}, {"ETCDCTL_USER=root:" + secret},
		{"ETCDCTL_AUTH_JWT_TOKEN=" + secret}, {"ETCDCTL_PASWORD=" + secret},
		{"ETCDCTL_HEX=root:" + secret, "ETCDCTL_DIAL_TIMEOUT=root:" + secret}, {"ETCDCTL_USER=" + secret + "\xe9"},
	}
	for _, line := range lines {
		for _, environment := range environments {
			cmd := exec.Command(oursCtl(t), append([]string{quick, "--dial-timeout=300ms"}, strings.Fields(line)...)...)
			cmd.Env = append(environment, "PATH="+os.Getenv("PATH"))
			said, _ := cmd.CombinedOutput()
			if strings.Contains(string(said), secret) {
				t.Errorf("%v %s shows the secret: %s", environment, line, said)
			}
			if strings.Contains(string(said), "panicked") {
				t.Errorf("%v %s: %s", environment, line, said)
			}
		}
	}
}

// TestEtcdutlShowsNoSecret does so for the offline tool.
func TestEtcdutlShowsNoSecret(t *testing.T) {
	secret := "s3cr3t-of-mine"
	for _, line := range []string{
		"snapshot restore s --initial-cluster a=http://u:" + secret + "@h", "snapshot restore s --initial-cluster a=http://u:" + secret + "/x@h:1",
		"snapshot restore s --initial-cluster default=http://u:" + secret + ",x@h:1", "snapshot restore s --initial-cluster default=http://u:" + secret + "@127.0.0.1:1",
		"snapshot restore s --initial-cluster default=http://u:" + secret + "@127.0.0.1:1 --initial-advertise-peer-urls http://u:" + secret + "@127.0.0.1:2",
		"snapshot restore s --initial-advertise-peer-urls http://u:" + secret + "@h", "--user:root:" + secret + " version", "-uroot:" + secret + " version",
		"root:" + secret, "--timeout=root:" + secret + " version", "migrate --data-dir=x --target-version=root:" + secret, "completion root:" + secret,
		"hashkv x --rev=root:" + secret,
	} {
		said, err := exec.Command(filepath.Join(filepath.Dir(oursCtl(t)), "etcdutl"), strings.Fields(line)...).CombinedOutput()
		if strings.Contains(string(said), secret) || strings.Contains(string(said), "panicked") {
			t.Errorf("%s: %v: %s", line, err, said)
		}
	}
}

// terminal is a terminal of its own for one program.
func terminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("skipped: there are no terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return master
}

// said collects what a terminal shows until the mark comes.
func saidUntil(t *testing.T, master *os.File, mark string) string {
	t.Helper()
	found := make(chan string, 1)
	go func() {
		var text strings.Builder
		buffer := make([]byte, 1024)
		for !strings.Contains(text.String(), mark) {
			n, err := master.Read(buffer)
			text.Write(buffer[:n])
			if err != nil {
				break
			}
		}
		found <- text.String()
	}()
	select {
	case text := <-found:
		return text
	case <-time.After(20 * time.Second):
		t.Fatalf("the terminal does not show %q", mark)
		return ""
	}
}

// TestEtcdctlAsksForAPasswordInSilence types a password at both etcdctls' prompts.
func TestEtcdctlAsksForAPasswordInSilence(t *testing.T) {
	_, endpoint := withAuth(t)
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		cmd := exec.Command(bin, "--endpoints="+endpoint, "--user=root", "get", "k")
		master := terminal(t, cmd)
		prompt := saidUntil(t, master, "Password: ")
		// The prompt comes before echo is off.
		poll(t, 10*time.Second, func() error {
			modes, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
			if err == nil && modes.Lflag&unix.ECHO != 0 {
				err = fmt.Errorf("the terminal echoes")
			}
			return err
		})
		if _, err := io.WriteString(master, "pw\n"); err != nil {
			t.Fatal(err)
		}
		rest := saidUntil(t, master, "v\r\n")
		if text := prompt + rest; strings.Contains(text, "pw") || !strings.Contains(text, "k\r\nv\r\n") {
			t.Errorf("%s: %q", bin, text)
		}
	}
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		got := ctl(t, bin, endpoint, "pw\n", "--user=root", "get", "k")
		if got.code != 0 || !strings.HasSuffix(got.stdout, "k\nv\n") || !strings.Contains(got.stdout, "Password: ") {
			t.Errorf("%s, from a pipe: %+v", bin, got)
		}
		// What follows the password is the command's.
		got = ctl(t, bin, endpoint, "pw\n\nget k\n\n\n", "--user=root", "txn")
		if got.code != 0 || !strings.HasSuffix(got.stdout, "k\nv\n") {
			t.Errorf("%s, a transaction behind the password: %+v", bin, got)
		}
	}
}

// TestEtcdctlKeepsWhatIsTypedAhead types a whole transaction at once.
func TestEtcdctlKeepsWhatIsTypedAhead(t *testing.T) {
	p := freePorts(t)
	start(t, ours(t), filepath.Join(t.TempDir(), "d"), p)
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		cmd := exec.Command(bin, "--endpoints="+endpoint, "txn", "-i")
		master := terminal(t, cmd)
		if _, err := io.WriteString(master, "mod(\"ahead\") > \"0\"\n\nput ahead 1\n\nput ahead 2\nget ahead\n\n"); err != nil {
			t.Fatal(err)
		}
		text := saidUntil(t, master, "ahead\r\n2\r\n")
		if !strings.Contains(text, "FAILURE") && !strings.Contains(text, "SUCCESS") {
			t.Errorf("%s: %q", bin, text)
		}
		ctl(t, bin, endpoint, "", "del", "ahead")
	}
}

// TestEtcdctlReplacesNoDevice saves snapshots onto what is no file.
func TestEtcdctlReplacesNoDevice(t *testing.T) {
	p := freePorts(t)
	dir := t.TempDir()
	start(t, ours(t), filepath.Join(dir, "d"), p)
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	pipe, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	received := make(chan int64, 1)
	go func() {
		from, err := os.Open(pipe)
		if err != nil {
			received <- -1
			return
		}
		defer from.Close()
		n, _ := io.Copy(io.Discard, from)
		received <- n
	}()
	if got := ctl(t, oursCtl(t), endpoint, "", "snapshot", "save", pipe); got.code != 0 {
		t.Errorf("onto a pipe: %+v", got)
	}
	if got := ctl(t, oursCtl(t), endpoint, "", "snapshot", "save", file); got.code != 0 {
		t.Errorf("into a file: %+v", got)
	}
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	must(t, os.WriteFile(target, nil, 0o600))
	must(t, os.Symlink(target, link))
	if got := ctl(t, oursCtl(t), endpoint, "", "snapshot", "save", link); got.code != 0 {
		t.Errorf("through a link: %+v", got)
	}
	linked, err := os.Lstat(link)
	led, errLed := os.Stat(target)
	if err != nil || errLed != nil || linked.Mode()&os.ModeSymlink == 0 || led.Size() == 0 {
		t.Errorf("the link is %v, what it leads to %v: %v %v", linked, led, err, errLed)
	}
	info, err := os.Stat(file)
	if n := <-received; err != nil || n != info.Size() {
		t.Errorf("%d bytes came through the pipe, the file: %v, %v", n, info, err)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is %v, %v", info, err)
	}
	// A device like /dev/null, but one that nobody else needs.
	null := filepath.Join(dir, "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err == nil {
		if got := ctl(t, oursCtl(t), endpoint, "", "snapshot", "save", null); got.code != 0 {
			t.Errorf("onto a device: %+v", got)
		}
		if info, err := os.Lstat(null); err != nil || info.Mode().Type()&os.ModeCharDevice == 0 {
			t.Errorf("the device is %v, %v", info, err)
		}
	}
	if got := ctl(t, oursCtl(t), endpoint, "", "snapshot", "save", dir); got.code != 5 {
		t.Errorf("onto a directory: %+v", got)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.part"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestEtcdutlMigrateNamesVersions compares what both etcdutls log of a migration.
func TestEtcdutlMigrateNamesVersions(t *testing.T) {
	dir := t.TempDir()
	p := freePorts(t)
	s := start(t, tool(t, "etcd"), filepath.Join(dir, "d"), p)
	awaitVersion(t, s)
	s.client.Close()
	s.stop()
	place := regexp.MustCompile(`^\S+\t(\w+)\t(\S+\.go:\d+\t)?`)
	for _, target := range []string{"3.7", "3.6", "3.8", "3.8 --force", "3.5 --force", "3.4"} {
		last := map[string]string{}
		for i, bin := range []string{tool(t, "etcdutl"), filepath.Join(filepath.Dir(oursCtl(t)), "etcdutl")} {
			copied := filepath.Join(dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(target, " ", ""), i))
			run(t, "cp", "-a", filepath.Join(dir, "d"), copied)
			said, _ := exec.Command(bin, append([]string{"migrate", "--data-dir=" + copied, "--target-version"}, strings.Fields(target)...)...).CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(said)), "\n")
			last[bin] = place.ReplaceAllString(lines[len(lines)-1], "$1\t")
		}
		if want, got := last[tool(t, "etcdutl")], last[filepath.Join(filepath.Dir(oursCtl(t)), "etcdutl")]; want != got {
			t.Errorf("%s\n theirs: %q\n ours:   %q", target, want, got)
		}
	}
}

// TestEtcdctlEnvironment compares what both etcdctls make of variables that are odd.
func TestEtcdctlEnvironment(t *testing.T) {
	p := freePorts(t)
	start(t, ours(t), filepath.Join(t.TempDir(), "d"), p)
	endpoint := fmt.Sprintf("--endpoints=127.0.0.1:%d", p.client)
	for _, variable := range []string{
		"COMMAND_TIMEOUT=x", "COMMAND_TIMEOUT=", "DIAL_TIMEOUT=x", "DEBUG=x", "HEX=x", "HEX=", "HEX=T", "HEX=\xe9", "INSECURE_DISCOVERY=x",
		"INSECURE_SKIP_TLS_VERIFY=x", "MAX_RECV_BYTES=x", "MAX_REQUEST_BYTES=99999999999999999999", "KEEPALIVE_TIME=x", "KEEPALIVE_TIMEOUT=x",
		"WRITE_OUT=x", "WRITE_OUT=", "BOGUS=1", "CERT=/nowhere\xe9", "CACERT=/nowhere\xe9", "KEY=/nowhere\xe9", "INSECURE_TRANSPORT=x",
	} {
		for _, line := range []string{"version", "version --hex", "get a --dial-timeout=300ms", "get", "bogus", "member"} {
			var got [2]outcome
			for i, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
				cmd := exec.Command("env", append([]string{"ETCDCTL_" + variable, bin, endpoint}, strings.Fields(line)...)...)
				got[i] = byMeaning(ctlOutcome(t, cmd))
				got[i].errors = strings.ReplaceAll(got[i].errors, "\xe9", "\uFFFD")
			}
			if got[0] != got[1] {
				t.Errorf("%q %s: etcd's %+v, ours %+v", variable, line, got[0], got[1])
			}
		}
	}
}

// TestEtcdctlTakesPathsOfAnyBytes gives both etcdctls a path that is no UTF-8.
func TestEtcdctlTakesPathsOfAnyBytes(t *testing.T) {
	p := freePorts(t)
	dir := t.TempDir()
	start(t, ours(t), filepath.Join(dir, "d"), p)
	endpoint := fmt.Sprintf("127.0.0.1:%d", p.client)
	path := filepath.Join(dir, "s\xe9")
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		got := ctl(t, bin, endpoint, "", "snapshot", "save", path)
		if _, err := os.Stat(path); err != nil || got.code != 0 || !strings.Contains(got.stdout, path) {
			t.Errorf("%s: %+v, %v", bin, got, err)
		}
	}
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		got := ctl(t, bin, endpoint, "\nput a\xe9 '\xe8'\nput b\xe9 \"\xe7\"\nget a b\xff\n\n\n", "txn")
		if got.code != 0 || !strings.Contains(got.stdout, "a\xe9\n\xe8\nb\xe9\n\uFFFD") {
			t.Errorf("%s: %+v", bin, got)
		}
	}
	utl := filepath.Join(filepath.Dir(oursCtl(t)), "etcdutl")
	for _, args := range [][]string{{"snapshot", "status", path}, {"snapshot", "restore", path, "--data-dir", path + ".etcd"}, {"hashkv", path}, {"migrate", "--data-dir", path + ".etcd", "--target-version", "3.6"}, {"defrag", "--data-dir", path + ".etcd"}} {
		if said, err := exec.Command(utl, args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v: %s", args, err, said)
		}
	}
	for _, flag := range []string{"--cert", "--key", "--cacert"} {
		var got [2]outcome
		for i, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
			got[i] = ctl(t, bin, endpoint, "", "get", "a", flag, path+".none", "--dial-timeout=300ms", quick)
			got[i].errors = strings.ReplaceAll(got[i].errors, "\xe9", "\uFFFD")
		}
		if got[0] != got[1] {
			t.Errorf("%s: etcd's %+v, ours %+v", flag, got[0], got[1])
		}
	}
}

// TestEtcdctlSavesIntoItsOwnOutput sends a snapshot through standard output, where nothing else may go.
func TestEtcdctlSavesIntoItsOwnOutput(t *testing.T) {
	p := freePorts(t)
	dir := t.TempDir()
	start(t, ours(t), filepath.Join(dir, "d"), p)
	endpoint := fmt.Sprintf("--endpoints=127.0.0.1:%d", p.client)
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	must(t, os.Symlink("/proc/self/fd/1", link))
	whole := ctl(t, oursCtl(t), endpoint[len("--endpoints="):], "", "snapshot", "save", file)
	info, err := os.Stat(file)
	if err != nil || whole.code != 0 {
		t.Fatalf("%+v, %v", whole, err)
	}
	for _, path := range []string{link, "/dev/stdout", "/proc/self/fd/1"} {
		var stdout, stderr strings.Builder
		cmd := exec.Command(oursCtl(t), endpoint, "snapshot", "save", path)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if err != nil || int64(stdout.Len()) != info.Size() || !strings.Contains(stderr.String(), "Snapshot saved at "+path) {
			t.Errorf("%s: %v, %d bytes of %d: %s", path, err, stdout.Len(), info.Size(), stderr.String())
		}
	}
	said, err := exec.Command(oursCtl(t), endpoint, "snapshot", "save", "/dev/stderr").CombinedOutput()
	if err == nil || !strings.Contains(string(said), "standard error") {
		t.Errorf("into the log: %v: %s", err, said)
	}
}

// TestEtcdctlMeetsTheFileLimit saves a snapshot that is too large for the limit on files.
func TestEtcdctlMeetsTheFileLimit(t *testing.T) {
	p := freePorts(t)
	dir := t.TempDir()
	start(t, ours(t), filepath.Join(dir, "d"), p)
	for _, bin := range []string{tool(t, "etcdctl"), oursCtl(t)} {
		line := fmt.Sprintf("ulimit -f 1; exec %s --endpoints=127.0.0.1:%d snapshot save %s", bin, p.client, filepath.Join(dir, "s"))
		got := ctlOutcome(t, exec.Command("bash", "-c", line))
		if got.code != 5 || !strings.Contains(got.errors, "could not write snapshot: write ") || !strings.HasSuffix(got.errors, "s.part: file too large") {
			t.Errorf("%s: %+v", bin, got)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "s*")); len(left) != 0 {
			t.Errorf("%s leaves %v", bin, left)
		}
	}
}

// TestEtcdctlStreamsEndWhereNobodyIs begins streams where no endpoint can be reached.
func TestEtcdctlStreamsEndWhereNobodyIs(t *testing.T) {
	closed := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for _, endpoints := range []string{closed, silentListener(t), blackHole(t) + "," + closed} {
		for _, line := range []string{"watch a", "watch a --prefix --rev=1", "lease keep-alive 1", "lease keep-alive --once 1 " + quick, "lease list", "lease timetolive 1", "txn | \\n\\n\\n"} {
			args, stdin := step(line).parts()
			begun := time.Now()
			got := ctl(t, oursCtl(t), endpoints, stdin, append(args, "--dial-timeout=500ms")...)
			if took := time.Since(begun); got.code == 0 || took > 8*time.Second {
				t.Errorf("%s at %s: %+v after %v", line, endpoints, got, took)
			}
		}
	}
}
