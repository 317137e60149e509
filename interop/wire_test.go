package interop

import (
	"bytes"
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
			for _, name := range []string{":status", "content-type", "grpc-status", "grpc-message"} {
				for _, field := range f.Fields {
					if field.Name == name && field.Value != "" {
						said = append(said, name+"="+field.Value)
					}
				}
			}
			if f.StreamEnded() {
				return fmt.Sprint(said)
			}
		case *http2.DataFrame: // its length depends on random ids
			said = append(said, "data")
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
	n := len(raw)
	return append([]byte{flag, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, raw...)
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
