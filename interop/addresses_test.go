package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/pkg/v3/netutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Addresses of every kind that operators and other programs write.
var addresses = []string{
	"", " ", ",", "*", "/", "//", "///", "?", "#", ":", "::", "a", "a:1", ":1", "1:a", "a/b:c", "./a:b",
	"localhost", "localhost:2379", "127.0.0.1", "127.0.0.1:2379", "[::1]:2379", "host.example.com:2379",
	"http", "http:", "http:/", "http://", "http:///", "http://:", "http://:2379", "http:2379", "http:a:2379",
	"http://a", "http://a:", "http://a:1", "http://a:1/", "http://a:1//", "http://a:1/b", "http://a:1?", "http://a:1??",
	"http://a:1?b", "http://a:1?b=c&d", "http://a:1#", "http://a:1#b", "http://a:1?b#c", "http://a:1?é b", "http://a:1#é b",
	"http://a:0", "http://a:00", "http://a:02379", "http://a:65535", "http://a:65536", "http://a:99999999999999999999",
	"http://a:-1", "http://a:+1", "http://a:http", "http://a:0x50", "http://a: 1", "http://a:1 ", " http://a:1", "\thttp://a:1\n",
	"\u00a0http://a:1\u2003", "\u200bhttp://a:1", "http://a:1\x00", "http://a\n:1", "http://a\x7f:1", "http:// a:1",
	"HTTP://a:1", "Http://A:1", "hTTpS://a:1", "https://a:1", "ftp://a:1", "tcp://a:1", "grpc://a:1", "ws://a:1", "httpx://a:1",
	"http+unix://a:1", "1http://a:1", "-http://a:1", "ht tp://a:1", "http//a:1", "http:\\\\a:1", "://a:1", "//a:1", "//a:1/b",
	"http://a:1:2", "http://a::1", "http://a:b:1", "ftp://a:1:2", "unix://a:1:2", "unix://a:b", "http://::1:2379", "http://fd00::1",
	"http://127.0.0.1:2379", "http://127.0.0.010:2379", "http://127.0.0.1.:2379", "http://127.1:2379", "http://2130706433:2379",
	"http://0x7f000001:2379", "http://0:2379", "http://256.0.0.1:2379", "http://1.2.3:1", "http://1.2.3.4.5:1", "http://0.0.0.0:2379",
	"http://255.255.255.255:1", "http://10.0.0.1", "http://10.0.0.1:", "http://10.0.0.1:80", "http://10.0.0.1:080",
	"http://[::1]:2379", "http://[::1]", "http://[::1]:", "http://[::]:2379", "http://[0::0]:2379", "http://[0:0:0:0:0:0:0:0]:2379",
	"http://[fd00:0::1]:2379", "http://[fd00::1]:2379", "http://[FD00::0001]:2379", "http://[fd00:0:0:0:0:0:0:1]:2379",
	"http://[::ffff:127.0.0.1]:2379", "http://[::ffff:7f00:1]:2379", "http://[::FFFF:127.0.0.1]:2379", "http://[::127.0.0.1]:2379",
	"http://[64:ff9b::1.2.3.4]:1", "http://[::ffff:127.0.0.01]:1", "http://[1:2:3:4:5:6:7:8]:1", "http://[1:2:3:4:5:6:1.2.3.4]:1",
	"http://[1:2:3:4:5:1.2.3.4]:1", "http://[1:2:3:4:5:6:7:1.2.3.4]:1", "http://[::1:2:3:4:5:6:1.2.3.4]:1", "http://[1:2:3:4:5:6:7:8:9]:1",
	"http://[1:2:3:4:5:6:7::]:1", "http://[1:2:3:4:5:6:7:8::]:1", "http://[::1:2:3:4:5:6:7:8]:1", "http://[1::2::3]:1", "http://[12345::]:1",
	"http://[g::]:1", "http://[1:]:1", "http://[:1]:1", "http://[:]:1", "http://[:::]:1", "http://[1.2.3.4]:1", "http://[a]:1", "http://[]:1",
	"http://[::1]a:1", "http://[::1]:a", "http://[::1:1", "http://::1]:1", "http://a[::1]:1", "http://[[::1]]:1", "http://[::1]]:1",
	"http://[::1]:1:2", "http://[::1]:1]:2", "http://[::1].:1", "http://a]:1", "http://[::1]@a:1", "http://[%3a%3a1]:1", "http://[::1%41]:1",
	"http://[fe80::1%25lo]:2379", "http://[fe80::1%lo]:2379", "http://[fe80::1%25]:2379", "http://[fe80::1%25l%6f]:1", "http://[fe80::1%25l%20o]:1",
	"http://[fe80::1%25l%2fo]:1", "http://[fe80::1%25%25]:1", "http://[fe80::1%25é]:1", "http://[::%25eth0]:1", "http://[1.2.3.4%25a]:1",
	"http://%61:1", "http://%C3%BC:1", "http://%c3%bc:1", "http://ü:1", "http://%ff:1", "http://%25:1", "http://%:1", "http://%4:1", "http://%zz:1",
	"http://a%20b:1", "http://a b:1", "http://a_b:1", "http://a~b:1", "http://a!$&'()*+,;=b:1", "http://a<b>\"c:1", "http://a^b:1", "http://a|b:1",
	"http://a`b:1", "http://{a}:1", "http://a\\b:1", "http://a..b:1", "http://.:1", "http://-:1", "http://a.:1", "http://例え:1", "http://😀:1",
	"http://u@a:1", "http://u:p@a:1", "http://u:@a:1", "http://:p@a:1", "http://@a:1", "http://u@:1", "http://u@", "http://u:p:q@a:1",
	"http://u@v@a:1", "http://u%40v:p%3Aq@a:1", "http://u%2fv@a:1", "http://ü@a:1", "http://u v@a:1", "http://u%zz@a:1", "http://u/p@a:1",
	"http://u?p@a:1", "http://u#p@a:1", "http://u[v]@a:1", "http://u;v=w+$,@a:1",
	"http://a:1/%2f", "http://a:1/%zz", "http://a:1/ b", "http://a:1/é", "http://a:1/*", "http://a:1/%2A", "http://a:1/a;b", "http://a:1/[b]",
	"http://a:1/..", "http://a:1?%zz", "http://a:1#%zz", "http://a:1#%20", "http://a:1#a%2fb", "http://a:1#(a)", "http://a:1#'a'",
	"unix:", "unix:a", "unix:/a", "unix://", "unix://a", "unix:///a", "unix:///a/b:1", "unix://a/b", "unix:////a", "unix://localhost:0", "unix:a b",
	"unix:///a b", "unix:///a%20b", "unix:///a?b", "unix://a:b:1", "UNIX:///a", "unixs:///a", "unixs://a:1", "unixs:a:1", "unix:*", "unix:%zz", "unix:/%zz",
	"%3a", "%zz", "a%2fb", "a?b:c", "a#b:c", "é", "é:1",
}

// Lists as --initial-cluster has them.
var lists = []string{
	"", ",", "a", "a=", "=", "=http://h:1", "a=http://h:1", "a=http://h:1,", ",a=http://h:1", "a=http://h:1,,b=http://h:2",
	"a=http://h:1,a=http://h:2", "a=http://h:2,a=http://h:1", "a=http://h:1,a=http://h:1", "a=http://h:1,b=http://h:1",
	"b=http://h:2,a=http://h:1", " a=http://h:1", "a =http://h:1", "a= http://h:1", "a=http://h:1 ,b=http://h:2", "a=b=http://h:1",
	"a=HTTP://h:1", "a=http://h", "a=h:1", "a=http://h:1/", "a=http://[fd00:0::1]:1", "é=http://h:1", "a=unix://x,b=unixs:y", "a;b=http://h:1",
	"http://h:1", "a=http://h:1;b=http://h:2", "a=http://h:1 b=http://h:2", "a=http://h:1?x=y", "\"a\"=http://h:1", "a=ftp://h:1",
}

type addressQuestion struct {
	Op   string   `json:"op"`
	Args []string `json:"args"`
}

type addressAnswer struct {
	Ok      any    `json:"ok"`
	Refused string `json:"refused"`
}

// askAddresses puts questions to our reader of addresses, which cargo builds beside the programs.
func askAddresses(t *testing.T, questions []addressQuestion) []addressAnswer {
	t.Helper()
	program := filepath.Join(filepath.Dir(ours(t)), "examples", "addresses")
	if err := isFile(program); err != nil {
		t.Fatalf("%v; build it with `cargo build -p address --example addresses`", err)
	}
	var in strings.Builder
	for _, q := range questions {
		line, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.Command(program)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(lines), len(questions))
	}
	answers := make([]addressAnswer, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &answers[i]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return answers
}

// goAnswer is what Go's answer would be, written as ours is.
func goAnswer(ok any, err error) addressAnswer {
	if err != nil {
		return addressAnswer{Refused: err.Error()}
	}
	var plain any
	text, _ := json.Marshal(ok)
	_ = json.Unmarshal(text, &plain)
	return addressAnswer{Ok: plain}
}

// compareAddresses asks ours and tells what differs.
func compareAddresses(t *testing.T, questions []addressQuestion, wanted []addressAnswer) {
	t.Helper()
	different := 0
	for i, got := range askAddresses(t, questions) {
		if !reflect.DeepEqual(got, wanted[i]) {
			if different++; different <= 20 {
				t.Errorf("%s %q: %+v, Go has %+v", questions[i].Op, questions[i].Args, got, wanted[i])
			}
		}
	}
	t.Logf("%d of %d differ", different, len(questions))
}

// mutatedText changes a few characters.
func mutatedText(random *rand.Rand, text string) string {
	const alphabet = ":/@?#[]%.=,+-_~*&'\" 0192afFxzA25é\x01"
	runes := []rune(text)
	for range 1 + random.Intn(3) {
		at, c := random.Intn(len(runes)+1), []rune(alphabet)[random.Intn(len([]rune(alphabet)))]
		switch random.Intn(3) {
		case 0:
			runes = append(runes[:at:at], append([]rune{c}, runes[at:]...)...)
		case 1:
			if at < len(runes) {
				runes = append(runes[:at:at], runes[at+1:]...)
			}
		default:
			if at < len(runes) {
				runes[at] = c
			}
		}
	}
	return string(runes)
}

// everyAddress is the table and some thousand neighbours of what is in it.
func everyAddress() []string {
	random := rand.New(rand.NewSource(8))
	all := append([]string{}, addresses...)
	for range 20 {
		for _, text := range addresses {
			all = append(all, mutatedText(random, text))
		}
	}
	return all
}

// What Go makes of a text, ours makes of it: the form that is advertised and hashed, or the refusal.
func TestAddressesAreReadAsGoReadsThem(t *testing.T) {
	var questions []addressQuestion
	var wanted []addressAnswer
	add := func(op string, answer addressAnswer, args ...string) {
		questions, wanted = append(questions, addressQuestion{op, args}), append(wanted, answer)
	}
	for _, text := range everyAddress() {
		u, err := url.Parse(text)
		if err != nil {
			add("parse", goAnswer(nil, err), text)
		} else if utf8.ValidString(u.Host) { // others cannot be told in JSON
			add("parse", goAnswer([]string{u.String(), u.Scheme, u.Host}, nil), text)
		}
		urls, err := types.NewURLs([]string{text})
		add("urls", goAnswer(urls.StringSlice(), err), text)
		host, port, err := net.SplitHostPort(text)
		add("split", goAnswer([]string{host, port}, err), text)
		ip := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		parsed := ""
		if found := net.ParseIP(ip); found != nil {
			parsed = found.String()
		}
		add("ip", goAnswer(parsed, nil), ip)
	}
	compareAddresses(t, questions, wanted)
}

// Lists are sorted, repeated and refused alike.
func TestListsOfAddressesAreReadAsEtcdReadsThem(t *testing.T) {
	random := rand.New(rand.NewSource(8))
	all := append([]string{}, lists...)
	for range 40 {
		for _, list := range lists {
			all = append(all, mutatedText(random, list))
		}
	}
	var questions []addressQuestion
	var wanted []addressAnswer
	for _, list := range all {
		named, err := types.NewURLsMap(list)
		if err != nil && len(strings.Split(list, ",")) > 1 {
			continue // which of several is refused first is left to chance there
		}
		questions = append(questions, addressQuestion{"named", []string{list}})
		wanted = append(wanted, goAnswer(named.String(), err))
		texts := strings.Split(list, ",")
		urls, err := types.NewURLs(texts)
		questions = append(questions, addressQuestion{"urls", texts})
		wanted = append(wanted, goAnswer(urls.StringSlice(), err))
	}
	questions, wanted = append(questions, addressQuestion{"urls", []string{}}), append(wanted, goAnswer(types.NewURLs(nil)))
	compareAddresses(t, questions, wanted)
}

// isLiteral tells whether no name must be looked up to know where a URL leads.
func isLiteral(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "unix" || u.Scheme == "unixs" {
		return true
	}
	host, port, err := net.SplitHostPort(u.Host)
	isSmall := len(port) < 6 && port < "65536" || port == ""
	return err != nil || (host == "localhost" || net.ParseIP(host) != nil) && isSmall
}

// Which URLs mean the same place is decided alike, in the same words.
func TestAddressesAreComparedAsEtcdComparesThem(t *testing.T) {
	var literal []string
	for _, text := range append(everyAddress(), "http://localhost:1", "http://localhost:01", "https://[::1]:2379") {
		if isLiteral(text) && len(literal) < 600 {
			literal = append(literal, text)
		}
	}
	random := rand.New(rand.NewSource(8))
	var questions []addressQuestion
	var wanted []addressAnswer
	add := func(a, b []string) {
		_, err := netutil.URLStringsEqual(context.Background(), zap.NewNop(), append([]string{}, a...), append([]string{}, b...))
		questions = append(questions, addressQuestion{"same", append(append([]string{}, a...), b...)})
		wanted = append(wanted, goAnswer(nil, err))
	}
	one := func() string { return literal[random.Intn(len(literal))] }
	equal := []string{
		"http://[fd00:0::1]:2379", "http://[fd00::1]:2379", "http://[FD00::0001]:2379", "http://[fd00:0:0:0:0:0:0:1]:2379",
		"http://[::ffff:127.0.0.1]:2379", "http://127.0.0.1:2379", "http://[::ffff:7f00:1]:02379", "HTTP://127.0.0.1:2379?x", "http://u@127.0.0.1:2379#y",
		"http://10.0.0.1:80", "http://10.0.0.1:080", "https://127.0.0.1:2379", "http://localhost:2379", "http://127.0.0.1:", "http://127.0.0.1:0", "unix:///a", "unix:/a", "unix://a",
	}
	for _, a := range equal {
		for _, b := range equal {
			add([]string{a}, []string{b})
		}
	}
	for range 3000 {
		a, b := one(), one()
		add([]string{a}, []string{b})
		add([]string{a, b}, []string{b, a})
		add([]string{a, one()}, []string{a, b})
	}
	compareAddresses(t, questions, wanted)
}

// What may be listened on and advertised is what embed's configuration allows.
func TestAddressesAreAllowedAsEtcdAllowsThem(t *testing.T) {
	var questions []addressQuestion
	var wanted []addressAnswer
	for _, text := range addresses {
		urls, err := types.NewURLs([]string{text})
		if err != nil {
			continue
		}
		valid := func(change func(*embed.Config)) error {
			config := embed.NewConfig()
			config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
			change(config)
			return config.Validate()
		}
		bind := valid(func(c *embed.Config) { c.ListenPeerUrls = urls })
		questions, wanted = append(questions, addressQuestion{"bind", []string{text}}), append(wanted, goAnswer(nil, bind))
		hosts := valid(func(c *embed.Config) { c.AdvertisePeerUrls = urls })
		if hosts != nil {
			_, why, _ := strings.Cut(hosts.Error(), `must be "host:port" (`)
			hosts = fmt.Errorf("%s", strings.TrimSuffix(why, ")"))
		}
		questions, wanted = append(questions, addressQuestion{"hosts", []string{text}}), append(wanted, goAnswer(nil, hosts))
	}
	compareAddresses(t, questions, wanted)
}
