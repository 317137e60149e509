package interop

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"
)

// started is what a server made of a line: facts by name.
type started map[string]string

const (
	// ends is the fact how a start ended, with the values below or the code or signal.
	ends = "ends"
	// said is everything that a server printed which does not run.
	said = "words"
	// files is what lies in the working directory at the end.
	files = "files"
	// setting begins the facts that the first line of a log tells.
	setting = "setting "

	runs    = "runs"
	waiting = "waits"
)

// observe notes what a running server is: whom it listens to, what it advertises and its settings.
func (s *scene) observe() {
	s.fact("listens", "%s", strings.Join(s.listens(), " "))
	s.fact("advertises", "%s", s.advertises())
	s.settings()
}

// listens are the addresses at which the server's sockets listen.
func (s *scene) listens() []string {
	pid := s.cmd.Process.Pid
	held := map[string]bool{}
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, entry := range entries {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, entry.Name()))
		if inode, isSocket := strings.CutPrefix(link, "socket:["); isSocket {
			held[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		for _, f := range procRows(pid, table) {
			if len(f) > 9 && f[3] == "0A" && held[f[9]] {
				found = append(found, procAddress(f[1]))
			}
		}
	}
	for _, f := range procRows(pid, "unix") {
		// The flags of a socket that listens.
		if len(f) > 7 && f[3] == "00010000" && held[f[6]] {
			found = append(found, "unix:"+f[7])
		}
	}
	slices.Sort(found)
	return found
}

func procRows(pid int, table string) [][]string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
	var rows [][]string
	for _, line := range strings.Split(string(text), "\n")[1:] {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

// procAddress reads an address as the kernel shows it: words of four bytes in the machine's order.
func procAddress(text string) string {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return text
	}
	for n := 0; n+4 <= len(raw); n += 4 {
		slices.Reverse(raw[n : n+4])
	}
	var number int
	fmt.Sscanf(port, "%X", &number)
	address, _ := netip.AddrFromSlice(raw)
	if number >= chosenPorts && number < 61000 {
		return net.JoinHostPort(address.String(), "any")
	}
	return net.JoinHostPort(address.String(), fmt.Sprint(number))
}

// chosenPorts begin those that the system gives to who does not mind.
const chosenPorts = 32768

// advertises is the list of members as this one tells it, and the cluster's id.
func (s *scene) advertises() string {
	limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := pb.NewClusterClient(s.connect()).MemberList(limited, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return "cannot be asked: " + status.Code(err).String()
	}
	text := fmt.Sprintf("cluster %x", list.Header.ClusterId)
	slices.SortFunc(list.Members, func(a, b *pb.Member) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, m := range list.Members {
		text += fmt.Sprintf("; %x %q peers %q clients %q learner %v", m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner)
	}
	return text
}

// unequalSettings are fields of the first line that need not be the same.
var unequalSettings = map[string]bool{
	"level": true, "ts": true, "caller": true, "msg": true, "git-sha": true, "go-version": true,
	"go-os": true, "go-arch": true, "max-cpu-set": true, "max-cpu-available": true,
}

// settings are the fields of the line that tells that the server starts.
func (s *scene) settings() {
	for _, line := range strings.Split(s.output(), "\n") {
		if !strings.Contains(line, `"starting an etcd server"`) {
			continue
		}
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		for name, value := range fields {
			if !unequalSettings[name] {
				text, _ := json.Marshal(value)
				s.fact(setting+name, "%s", text)
			}
		}
	}
}

// fileList is what lies in the working directory, with permissions. Names that end with .tmp are of files
// made in advance, and those of made certificates are in their directory alone.
func (s *scene) fileList() string {
	var found []string
	_ = filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return nil
		}
		info, err := entry.Info()
		if err != nil || strings.HasSuffix(path, ".tmp") {
			return nil
		}
		name := strings.TrimPrefix(path, s.dir+"/")
		kind := ""
		switch {
		case entry.IsDir():
			kind = "/"
		case info.Mode()&fs.ModeSocket != 0:
			kind = "="
		case info.Mode()&fs.ModeSymlink != 0:
			kind = "@"
		}
		found = append(found, fmt.Sprintf("%s%s %o", name, kind, info.Mode().Perm()))
		return nil
	})
	return strings.Join(found, ", ")
}
