package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// transcript is what was said in a scenario, without what differs from run to run.
type transcript struct {
	c     *cluster
	lines []string
	ids   map[string]string
}

func newTranscript(c *cluster) *transcript { return &transcript{c: c, ids: map[string]string{}} }

var idPattern = regexp.MustCompile(`\b([0-9a-f]{13,16}|[0-9]{17,20})\b`)

// say notes a line. Ids are numbered in the order in which they come, hex and decimal alike.
func (s *transcript) say(format string, args ...any) {
	s.lines = append(s.lines, s.plain(fmt.Sprintf(format, args...)))
}

func (s *transcript) plain(text string) string {
	text = strings.ReplaceAll(text, s.c.host, "HOST")
	// An id is made of the URLs and the second: added twice within one, it is the id that exists.
	text = strings.ReplaceAll(text, "member ID already exist", "Peer URLs already exists")
	text = regexp.MustCompile(`"raft_term":\d+`).ReplaceAllString(text, `"raft_term":T`)
	return idPattern.ReplaceAllStringFunc(text, func(id string) string {
		if n, err := strconv.ParseUint(id, 10, 64); err == nil && len(id) > 16 {
			id = hexID(n)
		}
		if _, known := s.ids[id]; !known {
			s.ids[id] = fmt.Sprintf("ID%d", len(s.ids)+1)
		}
		return s.ids[id]
	})
}

// differ compares scenarios line by line.
func differ(t testing.TB, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		a, b := "nothing", "nothing"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		// A read that waits for a majority ends by the server's time or by its client's, whichever
		// is first on a busy machine.
		timedOut := strings.HasSuffix(a, "DeadlineExceeded: too late") && strings.HasSuffix(b, "request timed out")
		if a != b && !timedOut {
			t.Errorf("line %d\netcd: %s\nours: %s", i+1, a, b)
		}
	}
}

// call sends a request to a member and notes the answer's code and text.
func (s *transcript) call(n *node, what, method string, in, out proto.Message) bool {
	client := s.c.dial(n)
	defer client.Close()
	limited, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := client.ActiveConnection().Invoke(limited, "/etcdserverpb."+method, in, out)
	s.say("%s: %v: %s", what, status.Code(err), status.Convert(err).Message())
	return err == nil
}

func (s *transcript) add(n *node, what string, learner bool, urls ...string) uint64 {
	out := &pb.MemberAddResponse{}
	s.call(n, "add "+what, "Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: urls, IsLearner: learner}, out)
	return out.GetMember().GetID()
}

func (s *transcript) remove(n *node, what string, id uint64) {
	s.call(n, "remove "+what, "Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: id}, &pb.MemberRemoveResponse{})
}

func (s *transcript) promote(n *node, what string, id uint64) {
	s.call(n, "promote "+what, "Cluster/MemberPromote", &pb.MemberPromoteRequest{ID: id}, &pb.MemberPromoteResponse{})
}

func (s *transcript) update(n *node, what string, id uint64, urls ...string) {
	s.call(n, "update "+what, "Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: id, PeerURLs: urls}, &pb.MemberUpdateResponse{})
}

// healthy waits until the members have been connected long enough for changes: then one of a
// member that is not there is refused for that, and not for its cluster's health.
func (s *transcript) healthy(n *node, url string) uint64 {
	s.c.t.Helper()
	client := s.c.dial(n)
	defer client.Close()
	var id uint64
	poll(s.c.t, 40*time.Second, func() error {
		resp, err := client.MemberAddAsLearner(short(s.c.t), []string{url})
		if err == nil {
			id = resp.Member.ID
		}
		return err
	})
	return id
}

// What a cluster says to changes of its members, sound and unsound.
func TestMembershipAnswersAsEtcd(t *testing.T) {
	t.Parallel()
	said := map[string][]string{}
	for _, kinds := range []string{"eee", "ooo"} {
		c := newCluster(t, bins(t, kinds)).start()
		said[kinds] = changeMembers(c)
	}
	differ(t, said["eee"], said["ooo"])
}

func changeMembers(c *cluster) []string {
	s := newTranscript(c)
	c.lead(c.nodes[0])
	one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
	ids := []uint64{c.id(one), c.id(two), c.id(three)}
	for i, id := range ids {
		s.say("member %d is %s", i+1, hexID(id))
	}
	extra := func(n int) string { return fmt.Sprintf("http://%s:%d", c.host, 23000+n) }
	learner := s.healthy(one, extra(1))
	s.healthyFrom(two)
	for _, n := range []*node{one, two} {
		s.say("asked of %s", n.name)
		s.add(n, "an url that is there", false, three.peer)
		s.add(n, "a learner's url that is there", true, extra(1))
		for _, url := range []string{"", "abc", "http://", "http://a", "ftp://a:1", "http://a:1/path", "http://a:b", "//a:1", "http://:1", "http://a:99999", " http://a:1 ",
			"http://[::1]:1", "http://a:", "http://a:1?x", "http://u@a:1", "unix://a", "unix:///a", "HTTP://a:1", "http://a:1/", "http://a b:1", "http://%zz:1", "http://a:1#f", "unix://a:1/b", "unixs://a:1", "https://a:1"} {
			// One that is sound is still one learner too many.
			s.add(n, fmt.Sprintf("%q", url), true, url)
		}
		s.add(n, "no urls", false)
		s.add(n, "one learner too many", true, extra(2))
		s.promote(n, "a learner that has not started", learner)
		s.promote(n, "a voter", ids[2])
		s.promote(n, "nobody", 77)
		s.remove(n, "nobody", 77)
		s.update(n, "nobody", 77, extra(3))
		s.update(n, "to another's url", ids[2], two.peer)
		s.update(n, "as it is", ids[2], three.peer)
	}
	s.remove(one, "the learner", learner)
	s.remove(one, "the learner again", learner)
	s.promote(one, "the removed learner", learner)
	s.update(one, "the removed learner", learner, extra(1))
	s.loseMembers(one, two, three, ids, extra)
	return s.lines
}

// healthyFrom waits until changes asked of this member are not refused for the cluster's health.
func (s *transcript) healthyFrom(n *node) {
	s.c.t.Helper()
	client := s.c.dial(n)
	defer client.Close()
	poll(s.c.t, 40*time.Second, func() error {
		_, err := client.MemberAdd(short(s.c.t), []string{s.c.nodes[0].peer})
		if err != nil && strings.Contains(err.Error(), "unhealthy") {
			return err
		}
		return nil
	})
}

// loseMembers goes from three members down to one.
func (s *transcript) loseMembers(one, two, three *node, ids []uint64, extra func(int) string) {
	three.kill()
	// Until the others have noticed.
	await(time.Second)
	s.add(one, "a voter while one is down", false, extra(4))
	s.remove(one, "one that runs while another is down", ids[1])
	s.remove(one, "the one that is down", ids[2])
	s.remove(one, "it again", ids[2])
	unstarted := s.add(one, "a voter to two", false, extra(5))
	s.add(one, "a voter while one has not started", false, extra(6))
	s.add(one, "a learner while one has not started", true, extra(6))
	s.remove(one, "one that runs while another has not started", ids[1])
	s.remove(one, "the one that has not started", unstarted)
	three.launch()
	three.ended(30 * time.Second)
	// Its exit code is 0 or 1, whichever of etcd's threads is first.
	s.remove(one, "the second", ids[1])
	two.ended(30 * time.Second)
	s.say("it ends with %d", two.cmd.ProcessState.ExitCode())
	two.launch()
	two.ended(30 * time.Second)
	s.remove(one, "the last", ids[0])
	list := &pb.MemberListResponse{}
	s.call(one, "list", "Cluster/MemberList", &pb.MemberListRequest{Linearizable: true}, list)
	for _, m := range list.Members {
		s.say("%s %x %v %v %v", m.Name, m.ID, m.PeerURLs, m.ClientURLs, m.IsLearner)
	}
	s.say("runs %v", one.runs())
}

// Both etcdctls print the same of both clusters' members.
func TestMemberCommandsAsEtcd(t *testing.T) {
	t.Parallel()
	reference := memberCommands(newCluster(t, bins(t, "eee")).start(), tool(t, "etcdctl"))
	differ(t, reference, memberCommands(newCluster(t, bins(t, "ooo")).start(), tool(t, "etcdctl")))
	differ(t, reference, memberCommands(newCluster(t, bins(t, "ooo")).start(), oursCtl(t)))
}

func memberCommands(c *cluster, bin string) []string {
	s := newTranscript(c)
	c.lead(c.nodes[0])
	for i, n := range c.nodes {
		s.say("member %d is %x", i+1, c.id(n))
	}
	third := hexID(c.id(c.nodes[2]))
	extra := fmt.Sprintf("http://%s:23001", c.host)
	one := c.nodes[0]
	learner := s.healthy(one, extra)
	s.say("the learner is %x", learner)
	steps := []string{
		"member list", "member list -w json", "member list -w table", "member list -w fields",
		"member list --hex -w json", "member list -w json --consistency=s",
		"member add", "member add x", "member add m9 --peer-urls=" + extra, "member add m9 --peer-urls=abc",
		"member add m9 --learner --peer-urls=" + extra + "9", "member promote", "member promote zz",
		"member promote 77", "member promote " + hexID(learner), "member promote " + third,
		"member remove", "member remove zz", "member remove 77", "member remove " + hexID(learner),
		"member remove " + hexID(learner), "member add m9 --learner --peer-urls=" + extra + "1",
		"member update", "member update zz --peer-urls=" + extra, "member update 77 --peer-urls=" + extra,
		"member update " + third, "member update " + third + " --peer-urls=" + c.nodes[2].peer,
		"member update " + third + " --peer-urls=" + c.nodes[2].peer + " -w json", "member list",
	}
	for _, line := range steps {
		s.command(bin, one, line)
	}
	var list pb.MemberListResponse
	_ = json.Unmarshal([]byte(run(c.t, tool(c.t, "etcdctl"), "--endpoints", one.client, "member", "list", "-w", "json")), &list)
	for _, m := range list.Members {
		if m.IsLearner {
			s.command(bin, one, "member remove "+hexID(m.ID)+" -w json")
		}
	}
	s.command(bin, one, "member add m9 --peer-urls="+extra+"2 -w table")
	s.command(bin, one, "endpoint status --cluster -w simple")
	return s.lines
}

var volatile = regexp.MustCompile(`, \d+ kB|, \d+, \d+, \d+,|took = .*|\d+(\.\d+)?[µm]s|"raft_term":\d+|RaftTerm" : \d+`)

func (s *transcript) command(bin string, n *node, line string) {
	if strings.HasPrefix(line, "endpoint") {
		out, _ := exec.Command(bin, append([]string{"--endpoints=" + n.client}, strings.Fields(line)...)...).CombinedOutput()
		s.say("%s: %d lines", line, strings.Count(string(out), "\n"))
		return
	}
	got := ctl(s.c.t, bin, n.client, "", strings.Fields(line)...)
	// Members come in the order of their ids, which are others in each cluster.
	words := strings.FieldsFunc(volatile.ReplaceAllString(got.stdout, "V"), func(r rune) bool {
		return strings.ContainsRune(",\"\n[]{}", r)
	})
	for i := range words {
		words[i] = s.plain(strings.Join(strings.Fields(words[i]), " "))
	}
	sort.Strings(words)
	s.say("%s: %d\n%q\n%s", line, got.code, words, got.errors)
}
