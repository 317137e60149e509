// Command golden writes what the Go types of etcd say about every message: golden/schema.txt has
// each field's number, name and kind, golden/bytes.txt has encoded examples. The proto crate's tests
// hold our definitions against both. Run in interop: go run ./cmd/golden
package main

import (
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"

	_ "go.etcd.io/etcd/api/v3/authpb"
	_ "go.etcd.io/etcd/api/v3/etcdserverpb"
	_ "go.etcd.io/etcd/api/v3/membershippb"
	_ "go.etcd.io/etcd/api/v3/mvccpb"
	_ "go.etcd.io/etcd/server/v3/etcdserver/api/snap/snappb"
	_ "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	_ "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	_ "go.etcd.io/etcd/server/v3/lease/leasepb"
	_ "go.etcd.io/etcd/server/v3/storage/wal/walpb"
	_ "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var packages = []protoreflect.FullName{
	"authpb", "etcdserverpb", "leasepb", "membershippb", "mvccpb", "raftpb", "snappb",
	"v3electionpb", "v3lockpb", "walpb",
}

// depthMax bounds how deep messages are nested in an example.
const depthMax = 3

func main() {
	var schema, examples []string
	for _, pkg := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
			each(file.Messages(), func(m protoreflect.MessageDescriptor) {
				schema = append(schema, fields(m)...)
				examples = append(examples, encodings(m)...)
			})
			schema = append(schema, enums(file.Enums())...)
			schema = append(schema, methods(file.Services())...)
			return true
		})
	}
	write("schema.txt", schema)
	write("bytes.txt", examples)
}

func write(name string, lines []string) {
	sort.Strings(lines)
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join("golden", name), []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
}

func each(all protoreflect.MessageDescriptors, visit func(protoreflect.MessageDescriptor)) {
	for i := range all.Len() {
		visit(all.Get(i))
		each(all.Get(i).Messages(), visit)
	}
}

// fields is one line per field: message, number, name, cardinality, kind, what it refers to, union, packing.
func fields(m protoreflect.MessageDescriptor) []string {
	lines := enums(m.Enums())
	lines = append(lines, fmt.Sprintf("message %s", m.FullName()))
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		refers := "-"
		if f.Message() != nil {
			refers = string(f.Message().FullName())
		} else if f.Enum() != nil {
			refers = string(f.Enum().FullName())
		}
		union := "-"
		if f.ContainingOneof() != nil {
			union = string(f.ContainingOneof().Name())
		}
		lines = append(lines, fmt.Sprintf("field %s %d %s %s %s %s %s %s %s",
			m.FullName(), f.Number(), f.Name(), f.Cardinality(), f.Kind(), refers, union,
			flag(f.HasPresence(), "presence"), flag(f.IsPacked(), "packed")))
	}
	return lines
}

func flag(set bool, name string) string {
	if set {
		return name
	}
	return "-"
}

func enums(all protoreflect.EnumDescriptors) []string {
	var lines []string
	for i := range all.Len() {
		e := all.Get(i)
		for v := range e.Values().Len() {
			value := e.Values().Get(v)
			lines = append(lines, fmt.Sprintf("enum %s %d %s", e.FullName(), value.Number(), value.Name()))
		}
	}
	return lines
}

func methods(all protoreflect.ServiceDescriptors) []string {
	var lines []string
	for i := range all.Len() {
		for n := range all.Get(i).Methods().Len() {
			m := all.Get(i).Methods().Get(n)
			lines = append(lines, fmt.Sprintf("method /%s/%s %s %s %s %s", all.Get(i).FullName(), m.Name(),
				m.Input().FullName(), m.Output().FullName(),
				flag(m.IsStreamingClient(), "stream-in"), flag(m.IsStreamingServer(), "stream-out")))
		}
	}
	return lines
}

// encodings is one line per example: message, what is in it, bytes.
func encodings(m protoreflect.MessageDescriptor) []string {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.FullName())
	if err != nil {
		log.Fatal(err)
	}
	var lines []string
	add := func(what string, msg protoreflect.Message) {
		lines = append(lines, fmt.Sprintf("%s %s %x", m.FullName(), what, ordered(msg)))
	}
	for _, style := range []string{"full", "edge", "zero"} {
		msg := kind.New()
		(&filler{style: style}).fill(msg, 0)
		add(style, msg)
	}
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.ContainingOneof() != nil {
			for _, style := range []string{"edge", "zero"} {
				msg := kind.New()
				(&filler{style: style}).set(msg, f, 0)
				add("only-"+string(f.Name())+"-"+style, msg)
			}
		}
	}
	return lines
}

// ordered encodes with the fields in the order of their numbers; Go's own encoder writes unions last,
// which means the same.
func ordered(msg protoreflect.Message) []byte {
	var present []protoreflect.FieldDescriptor
	msg.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		present = append(present, f)
		return true
	})
	sort.Slice(present, func(i, j int) bool { return present[i].Number() < present[j].Number() })
	var out []byte
	for _, f := range present {
		if f.Message() == nil {
			alone := msg.New()
			alone.Set(f, msg.Get(f))
			out = append(out, marshal(alone)...)
			continue
		}
		each := []protoreflect.Message{}
		if f.IsList() {
			for i := range msg.Get(f).List().Len() {
				each = append(each, msg.Get(f).List().Get(i).Message())
			}
		} else {
			each = append(each, msg.Get(f).Message())
		}
		for _, inner := range each {
			out = protowire.AppendTag(out, f.Number(), protowire.BytesType)
			out = protowire.AppendBytes(out, ordered(inner))
		}
	}
	back := msg.New()
	if err := proto.Unmarshal(out, back.Interface()); err != nil || !proto.Equal(msg.Interface(), back.Interface()) {
		log.Fatalf("%s: the ordered bytes do not decode to the same: %v", msg.Descriptor().FullName(), err)
	}
	return out
}

func marshal(msg protoreflect.Message) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg.Interface())
	if err != nil {
		log.Fatal(msg.Descriptor().FullName(), err)
	}
	return raw
}

// filler sets every field of a message: full with small distinct values, edge with the widest ones,
// zero with explicit zeros where the field can tell them from absence.
type filler struct {
	style string
	next  uint64
}

func (f *filler) fill(msg protoreflect.Message, depth int) {
	for i := range msg.Descriptor().Fields().Len() {
		f.set(msg, msg.Descriptor().Fields().Get(i), depth)
	}
}

func (f *filler) set(msg protoreflect.Message, field protoreflect.FieldDescriptor, depth int) {
	if field.Message() != nil && depth >= depthMax {
		return
	}
	if field.IsList() {
		list := msg.Mutable(field).List()
		for range map[string]int{"full": 2, "edge": 1, "zero": 1}[f.style] {
			list.Append(f.value(field, list.NewElement, depth))
		}
		return
	}
	msg.Set(field, f.value(field, func() protoreflect.Value { return msg.NewField(field) }, depth))
}

func (f *filler) value(field protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	if field.Message() != nil {
		v := fresh()
		f.fill(v.Message(), depth+1)
		return v
	}
	f.next++
	pick := func(full, edge, zero any) protoreflect.Value {
		return protoreflect.ValueOf(map[string]any{"full": full, "edge": edge, "zero": zero}[f.style])
	}
	n := f.next
	switch field.Kind() {
	case protoreflect.BoolKind:
		return pick(true, true, false)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return pick(int32(n), int32(math.MinInt32), int32(0))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return pick(uint32(n), uint32(math.MaxUint32), uint32(0))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return pick(int64(n), int64(math.MinInt64), int64(0))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return pick(n, uint64(math.MaxUint64), uint64(0))
	case protoreflect.StringKind:
		return pick(fmt.Sprintf("s%d", n), "\x00\u00e9\U0001f512", "")
	case protoreflect.BytesKind:
		return pick(fmt.Appendf(nil, "b%d", n), []byte{0, 0xff, 0x80}, []byte{})
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		last := values.Get(values.Len() - 1).Number()
		// A number nobody has named travels through both sides unharmed.
		return pick(last, protoreflect.EnumNumber(unknown(field)), values.Get(0).Number())
	}
	log.Fatalf("%s: no example for %s", field.FullName(), field.Kind())
	return protoreflect.Value{}
}

// unknown is a number of no value for open enums (proto3), the last value for closed ones.
func unknown(field protoreflect.FieldDescriptor) int32 {
	values := field.Enum().Values()
	if field.Enum().IsClosed() {
		return int32(values.Get(values.Len() - 1).Number())
	}
	return 77
}
