// Command peergolden writes what etcd's transport puts on its two streams: golden/peer.txt has, for
// each stream, the messages that were sent and the bytes that came, after one link heartbeat. The
// peer crate's tests hold our codecs against both. Run in interop: go run ./cmd/peergolden
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"go.etcd.io/etcd/api/v3/version"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	local, remote, cluster = 0xa, 0xb, 0xc
	// quiet ends a recording; it is shorter than the time between two heartbeats.
	quiet = 500 * time.Millisecond
)

type nothing struct{}

func (nothing) Process(context.Context, *raftpb.Message) error { return nil }
func (nothing) IsIDRemoved(uint64) bool                        { return false }
func (nothing) ReportUnreachable(uint64)                       {}
func (nothing) ReportSnapshot(uint64, raft.SnapshotStatus)     {}

func main() {
	var text strings.Builder
	record(&text, "message", 10, every())
	record(&text, "msgapp", 1, appends())
	if err := os.WriteFile(filepath.Join("golden", "peer.txt"), []byte(text.String()), 0o644); err != nil {
		log.Fatal(err)
	}
}

// record sends messages over a fresh stream after its first heartbeat, of so many bytes.
func record(text *strings.Builder, stream string, heartbeat int, messages []*raftpb.Message) {
	transport := &rafthttp.Transport{
		ID: local, ClusterID: cluster, Raft: nothing{},
		ServerStats: stats.NewServerStats("", ""), LeaderStats: stats.NewLeaderStats(nil, "a"),
	}
	must(transport.Start())
	defer transport.Stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() { _ = http.Serve(listener, transport.Handler()) }()
	transport.AddPeer(types.ID(remote), []string{"http://127.0.0.1:1"})

	pieces := dial("http://" + listener.Addr().String() + "/raft/stream/" + stream + "/b")
	var bytes []byte
	for len(bytes) < heartbeat {
		bytes = append(bytes, <-pieces...)
	}
	transport.Send(messages)
	for {
		select {
		case piece := <-pieces:
			bytes = append(bytes, piece...)
			continue
		case <-time.After(quiet):
		}
		break
	}
	fmt.Fprintf(text, "stream %s\n", stream)
	for _, m := range messages {
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		must(err)
		fmt.Fprintf(text, "message %s\n", hex.EncodeToString(encoded))
	}
	fmt.Fprintf(text, "bytes %s\n", hex.EncodeToString(bytes))
}

func dial(url string) <-chan []byte {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	must(err)
	for name, value := range map[string]string{
		"X-Server-From": "b", "X-Server-Version": version.Version, "X-Min-Cluster-Version": "3.0.0",
		"X-Etcd-Cluster-ID": "c", "X-Raft-To": "a",
	} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	must(err)
	if response.StatusCode != http.StatusOK {
		log.Fatal(response.Status)
	}
	pieces := make(chan []byte)
	go func() {
		for {
			buffer := make([]byte, 1<<16)
			n, err := response.Body.Read(buffer)
			if n > 0 {
				pieces <- buffer[:n]
			}
			if err == io.EOF {
				return
			}
			must(err)
		}
	}()
	return pieces
}

// every is a message of each type, with every field somewhere.
func every() []*raftpb.Message {
	var all []*raftpb.Message
	for i := range raftpb.MessageType_name {
		if raftpb.MessageType(i) == raftpb.MsgSnap || raftpb.MessageType(i) == raftpb.MsgApp {
			continue // they take other ways
		}
		all = append(all, &raftpb.Message{
			Type: raftpb.MessageType(i).Enum(), To: proto.Uint64(remote), From: proto.Uint64(local),
			Term: proto.Uint64(uint64(i) << 40), Index: proto.Uint64(0),
		})
	}
	slices.SortFunc(all, func(a, b *raftpb.Message) int { return int(a.GetType() - b.GetType()) })
	return append(all, &raftpb.Message{
		Type: raftpb.MsgProp.Enum(), To: proto.Uint64(remote), From: proto.Uint64(1<<64 - 1),
		Entries: []*raftpb.Entry{{}, entry(3, 9, "proposed"), {Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{}}},
		Reject:  proto.Bool(true), RejectHint: proto.Uint64(7), Context: []byte("context"), Vote: proto.Uint64(5),
		Commit: proto.Uint64(6), LogTerm: proto.Uint64(2),
		Snapshot: &raftpb.Snapshot{Data: []byte("data"), Metadata: &raftpb.SnapshotMetadata{
			ConfState: &raftpb.ConfState{Voters: []uint64{local, remote}, Learners: []uint64{3}, AutoLeave: proto.Bool(false)},
			Index:     proto.Uint64(8), Term: proto.Uint64(2),
		}},
		Responses: []*raftpb.Message{{Type: raftpb.MsgAppResp.Enum()}},
	})
}

func entry(term, index uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{
		Type: raftpb.EntryNormal.Enum(), Term: proto.Uint64(term), Index: proto.Uint64(index), Data: []byte(data),
	}
}

func app(term, logTerm, index, commit uint64, entries ...*raftpb.Entry) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: proto.Uint64(remote), From: proto.Uint64(local), Term: proto.Uint64(term),
		LogTerm: proto.Uint64(logTerm), Index: proto.Uint64(index), Commit: proto.Uint64(commit), Entries: entries,
	}
}

// appends is what a leader sends: probing, replicating, a gap, another term.
func appends() []*raftpb.Message {
	return []*raftpb.Message{
		app(2, 1, 5, 4),
		app(2, 1, 5, 4, entry(2, 6, "six")),
		app(2, 2, 6, 6, entry(2, 7, "seven"), entry(2, 8, "")),
		app(2, 2, 8, 8),
		app(2, 2, 8, 8, &raftpb.Entry{Term: proto.Uint64(2), Index: proto.Uint64(9)}),
		app(2, 2, 11, 9, entry(2, 12, "after a gap")),
		app(3, 2, 12, 12, entry(3, 13, "a new term")),
		app(3, 3, 13, 13, entry(3, 14, "goes on")),
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
