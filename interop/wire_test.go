package interop

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/proto"
)

// wire is a client that says exactly what it is told.
type wire struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
}

func dialWire(t *testing.T, s *server) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w := &wire{t, conn, framer}
	_, err = conn.Write([]byte(http2.ClientPreface))
	w.must(err)
	w.must(framer.WriteSettings())
	return w
}

func (w *wire) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) headers(stream uint32, end bool, fields ...string) {
	w.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		at := strings.Index(field[1:], ":") + 1
		w.must(encoder.WriteField(hpack.HeaderField{Name: field[:at], Value: field[at+1:]}))
	}
	w.must(w.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

// ending reads until stream 1 or the connection ends, and says how.
func (w *wire) ending() string {
	var said []string
	for {
		frame, err := w.framer.ReadFrame()
		var broken http2.StreamError
		switch {
		case errors.As(err, &broken):
			return fmt.Sprint(append(said, err.Error()))
		case err != nil:
			return fmt.Sprint(append(said, "closed"))
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, name := range []string{":status", "content-type", "grpc-encoding", "grpc-status", "grpc-message"} {
				for _, field := range f.Fields {
					if field.Name == name && field.Value != "" {
						// Go's protobuf words its errors with one space or the other, as the build falls out.
						said = append(said, name+"="+strings.ReplaceAll(field.Value, "%C2%A0", " "))
					}
				}
			}
			if f.StreamEnded() {
				return fmt.Sprint(said)
			}
		case *http2.DataFrame: // its length depends on random ids
			said = append(said, "data")
			if len(f.Data()) > 0 && f.Data()[0] != 0 {
				said = append(said, "packed")
			}
		case *http2.RSTStreamFrame:
			return fmt.Sprint(append(said, "reset "+f.ErrCode.String()))
		case *http2.GoAwayFrame:
			said = append(said, "goaway "+f.ErrCode.String()+" "+string(f.DebugData()))
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = w.framer.WriteSettingsAck()
			}
		}
	}
}

func call(path string, more ...string) []string {
	fields := []string{":method:POST", ":scheme:http", ":path:" + path, ":authority:here"}
	return append(append(fields, "content-type:application/grpc", "te:trailers"), more...)
}

// grpcMessage is a message in its frame.
func grpcMessage(flag byte, m proto.Message) []byte {
	raw, _ := proto.Marshal(m)
	return framed(flag, raw)
}

func framed(flag byte, raw []byte) []byte {
	n := len(raw)
	return append([]byte{flag, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, raw...)
}

// zipped is a message in its frame, packed.
func zipped(raw []byte) []byte {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(raw)
	_ = writer.Close()
	return framed(1, packed.Bytes())
}

// TestWire holds together what both servers say to requests that no client library makes.
func TestWire(t *testing.T) {
	p := newPair(t)
	get := grpcMessage(0, &pb.RangeRequest{Key: []byte("k"), Serializable: true})
	path := kvService + "Range"
	without := func(name string) []string {
		return slices.DeleteFunc(call(path), func(field string) bool { return strings.HasPrefix(field, name) })
	}
	cases := []struct {
		name   string
		fields []string
		body   []byte
	}{
		{"a call", call(path), get},
		{"unknown service", call("/no.Such/Method"), get},
		{"unknown method", call(kvService + "None"), get},
		{"half a message", call(path), get[:6]},
		{"half a header", call(path), get[:3]},
		{"garbage", call(path), []byte{0, 0, 0, 0, 2, 0xff, 0xff}},
		{"compressed without a name", call(path), append([]byte{1}, get[1:]...)},
		{"another flag", call(path), append([]byte{2}, get[1:]...)},
		{"an unknown compression", call(path, "grpc-encoding:none"), append([]byte{1}, get[1:]...)},
		{"identity", call(path, "grpc-encoding:identity"), get},
		{"too long", call(path), []byte{0, 0x7f, 0xff, 0xff, 0xff}},
		{"a short timeout", call(path, "grpc-timeout:S"), get},
		{"a long timeout", call(path, "grpc-timeout:123456789S"), get},
		{"a timeout of no unit", call(path, "grpc-timeout:12x"), get},
		{"a timeout of no number", call(path, "grpc-timeout:1xS"), get},
		{"GET", append([]string{":method:GET"}, without(":method")...), get},
		{"a connection header", call(path, "connection:close"), get},
		{"upper case", call(path, "Upper:case"), get},
		{"no path", without(":path"), get},
		{"an empty path", append([]string{":path:"}, without(":path")...), get},
		{"a path without a slash", append([]string{":path:" + path[1:]}, without(":path")...), get},
		{"a path with a query", append([]string{":path:" + path + "?a=b"}, without(":path")...), get},
		{"no method", without(":method"), get},
		{"no scheme", without(":scheme"), get},
		{"no authority", without(":authority"), get},
		{"two paths", append([]string{":path:/x"}, call(path)...), get},
		{"a status", append([]string{":status:200"}, call(path)...), get},
		{"an unknown pseudo header", append([]string{":other:1"}, call(path)...), get},
		{"a pseudo header behind others", append(without(":path"), ":path:"+path), get},
		{"two hosts", call(path, "host:a", "host:b"), get},
		{"no te", without("te"), get},
		{"another te", append(without("te"), "te:gzip"), get},
		{"an upgrade", call(path, "upgrade:h3", "keep-alive:1"), get},
		{"a length that is none", call(path, "content-length:x"), get},
		{"a length that is not kept", call(path, "content-length:3"), get},
		{"space around a value", call(path, "x: y "), get},
		{"a control in a value", call(path, "x:a\x01b"), get},
		{"binary metadata", call(path, "x-bin:YQ"), get},
		{"broken binary metadata", call(path, "x-bin:a$=="), get},
		{"no time", call(path, "grpc-timeout:0S"), get},
		{"hardly any time", call(path, "grpc-timeout:1n"), get},
		{"much time", call(path, "grpc-timeout:99999999H"), get},
		{"gzip", call(path, "grpc-encoding:gzip"), zipped(get[5:])},
		{"gzip for a plain message", call(path, "grpc-encoding:gzip"), get},
		{"gzip for an error", call(path, "grpc-encoding:gzip"), zipped(nil)},
		{"gzip that is none", call(path, "grpc-encoding:gzip"), append([]byte{1}, get[1:]...)},
		{"gzip that is cut off", call(path, "grpc-encoding:gzip"), framed(1, zipped(get[5:])[5:25])},
		{"gzip that is too long", call(path, "grpc-encoding:gzip"), zipped(make([]byte, 3<<20))},
		{"an unknown method packed in an unknown way", call(kvService+"None", "grpc-encoding:none"), get},
		{"an unknown compression for a plain message", call(path, "grpc-encoding:none"), get},
		{"proto by name", append(without("content-type"), "content-type:application/grpc+proto"), get},
		{"another codec", append(without("content-type"), "content-type:application/grpc;x"), get},
		{"an error with a type", append(without("content-type"), "content-type:application/grpc+proto"), framed(0, nil)},
	}
	for _, c := range cases {
		var said [2]string
		for i, s := range p.both {
			w := dialWire(t, s)
			w.headers(1, c.body == nil, c.fields...)
			if c.body != nil {
				w.must(w.framer.WriteData(1, true, c.body))
			}
			said[i] = w.ending()
		}
		if said[0] != said[1] {
			t.Errorf("%s\netcd: %s\nours: %s", c.name, said[0], said[1])
		}
	}
}

// TestDeadlines holds together how calls end whose time is up.
func TestDeadlines(t *testing.T) {
	p := newPair(t)
	create, _ := proto.Marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")}}})
	cases := []struct {
		name, path string
		body       []byte
	}{
		{"a watch", "/etcdserverpb.Watch/Watch", framed(0, create)},
		{"a watch that asks for nothing", "/etcdserverpb.Watch/Watch", nil},
		{"half a put", kvService + "Put", framed(0, []byte{10, 1, 'k'})[:6]},
	}
	for _, c := range cases {
		for i, s := range p.both {
			w := dialWire(t, s)
			begun := time.Now()
			w.headers(1, false, call(c.path, "grpc-timeout:300m")...)
			if c.body != nil {
				w.must(w.framer.WriteData(1, false, c.body))
			}
			said, took := w.ending(), time.Since(begun)
			t.Logf("%s, %d: %s after %v", c.name, i, said, took)
			// What etcd says first is a matter of chance there: of the deadline, or of the watch that ends with it.
			isChance := i == 0 && strings.Contains(said, "grpc-status=1 grpc-message=etcdserver: watch canceled")
			if !strings.HasSuffix(said, "reset CANCEL]") && !strings.Contains(said, "grpc-status=4") && !isChance {
				t.Errorf("%s, %d: %s", c.name, i, said)
			}
			if took < 300*time.Millisecond || took > 5*time.Second {
				t.Errorf("%s, %d: ended after %v", c.name, i, took)
			}
		}
	}
}

// TestCompressedCalls has a client that packs everything, with everything that it packs.
func TestCompressedCalls(t *testing.T) {
	p := newPair(t)
	for _, s := range p.both {
		conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip"), grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		kv, watch := pb.NewKVClient(conn), pb.NewWatchClient(conn)
		stream, err := watch.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		create := &pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l")}
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		var size int
		for i := range 10 {
			value := bytes.Repeat([]byte{byte(i)}, 200_000)
			if _, err := kv.Put(short(t), &pb.PutRequest{Key: fmt.Appendf(nil, "k%d", i), Value: value}); err != nil {
				t.Fatal(err)
			}
			for got := 0; got == 0; {
				r, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				got = len(r.Events)
			}
			size += len(value)
		}
		all, err := kv.Range(short(t), &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
		if err != nil || proto.Size(all) < size {
			t.Fatalf("%d bytes of %d, %v", proto.Size(all), size, err)
		}
	}
}

// TestPings holds together when clients are sent away that ask too often.
func TestPings(t *testing.T) {
	for _, min := range []string{"5s", "10ms"} {
		p := newPair(t, "--grpc-keepalive-min-time="+min)
		for calls := range 2 {
			var said [2]string
			for i, s := range p.both {
				w := dialWire(t, s)
				if calls > 0 {
					w.headers(1, false, call("/etcdserverpb.Watch/Watch")...)
				}
				for n := range 4 {
					_ = w.framer.WritePing(false, [8]byte{byte(n)})
					w.awaitPong()
					if min != "5s" {
						time.Sleep(15 * time.Millisecond)
					}
				}
				_ = w.framer.WriteRSTStream(1, http2.ErrCodeCancel)
				_ = w.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
				_ = w.conn.(*net.TCPConn).CloseWrite()
				said[i] = w.ending()
			}
			if said[0] != said[1] {
				t.Errorf("%s, %d calls\netcd: %s\nours: %s", min, calls, said[0], said[1])
			}
		}
	}
}

// awaitPong reads to the answer of a ping, or the end.
func (w *wire) awaitPong() {
	for {
		frame, err := w.framer.ReadFrame()
		if err != nil {
			return
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}
