package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// The log is shortened after so many entries, to so many (the server's defaults).
const (
	entriesMax  = 10_000
	entriesKept = 5_000
)

// member is one member of a group of the reference's library. Everything here has its like in
// crates/raft/examples/throughput.rs, step for step; whoever changes one changes the other.
type member struct {
	node      *raft.RawNode
	storage   *raft.MemoryStorage
	id        uint64
	async     bool
	count     uint64 // entries applied
	last      uint64 // the index of the last of them
	compacted uint64
}

func newMember(id uint64, s shape) *member {
	storage := raft.NewMemoryStorage()
	var voters []uint64
	for voter := uint64(1); voter <= uint64(s.members); voter++ {
		voters = append(voters, voter)
	}
	// The configuration, at an index that no entry has.
	conf := &raftpb.ConfState{Voters: voters}
	snapshot := &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: conf, Index: new(uint64(1)), Term: new(uint64(1))}}
	must(storage.ApplySnapshot(snapshot))
	node, err := raft.NewRawNode(&raft.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: storage,
		AsyncStorageWrites: s.async, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 512,
		Logger: &raft.DefaultLogger{Logger: discard},
	})
	must(err)
	return &member{node: node, storage: storage, id: id, async: s.async, last: 1, compacted: 1}
}

// work does everything that the node asks for; what is to be sent is added to network.
func (m *member) work(network []*raftpb.Message) []*raftpb.Message {
	for m.node.HasReady() {
		ready := m.node.Ready()
		if ready.HardState != nil && !raft.IsEmptyHardState(ready.HardState) {
			must(m.storage.SetHardState(ready.HardState))
		}
		if m.async {
			network = m.followMessages(ready, network)
		} else {
			must(m.storage.Append(ready.Entries))
			network = append(network, ready.Messages...)
			m.apply(ready.CommittedEntries)
			m.node.Advance(ready)
		}
	}
	return network
}

func (m *member) followMessages(ready raft.Ready, network []*raftpb.Message) []*raftpb.Message {
	for _, message := range ready.Messages {
		switch message.GetType() {
		case raftpb.MsgStorageAppend:
			must(m.storage.Append(message.Entries))
		case raftpb.MsgStorageApply:
			m.apply(message.Entries)
		default:
			network = append(network, message)
		}
		for _, response := range message.Responses {
			if response.GetTo() == m.id {
				must(m.node.Step(response))
			} else {
				network = append(network, response)
			}
		}
	}
	return network
}

func (m *member) apply(entries []*raftpb.Entry) {
	if len(entries) > 0 {
		m.count += uint64(len(entries))
		m.last = entries[len(entries)-1].GetIndex()
	}
}

func (m *member) forget() {
	if m.last-m.compacted > entriesMax {
		m.compacted = m.last - entriesKept
		must(m.storage.Compact(m.compacted))
	}
}

type group struct {
	members   []*member
	network   []*raftpb.Message
	delivered uint64 // messages that went from member to member
}

func (g *group) settle() {
	for {
		for _, m := range g.members {
			g.network = m.work(g.network)
		}
		if len(g.network) == 0 {
			return
		}
		g.delivered += uint64(len(g.network))
		network := g.network
		g.network = nil
		for _, message := range network {
			must(g.members[message.GetTo()-1].node.Step(message))
		}
	}
}

func (g *group) round(data []byte, atOnce int) {
	for range atOnce {
		must(g.members[0].node.Propose(data))
	}
	g.settle()
	for _, m := range g.members {
		m.forget()
	}
}

// runGroup lets a group of the reference's library work and says what it took.
func runGroup(s shape) outcome {
	g := &group{}
	for id := uint64(1); id <= uint64(s.members); id++ {
		g.members = append(g.members, newMember(id, s))
	}
	must(g.members[0].node.Campaign())
	g.settle()
	data := []byte(strings.Repeat("x", s.bytes))
	rounds := (s.entries + s.atOnce - 1) / s.atOnce
	begun, cpu := time.Now(), processorTime()
	for range rounds {
		g.round(data, s.atOnce)
	}
	o := outcome{seconds: time.Since(begun).Seconds(), processor: (processorTime() - cpu).Seconds()}
	o.entries, o.messages = uint64(rounds*s.atOnce), g.delivered
	for _, m := range g.members {
		// One more entry, which the leader began its term with; one index more for the configuration.
		if m.count != o.entries+1 || m.last != o.entries+2 {
			panic(fmt.Sprintf("member %d applied %d entries up to %d", m.id, m.count, m.last))
		}
	}
	return o
}

// processorTime reads what this process took so far, in hundredths of a second.
func processorTime() time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	must(err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	must(err)
	system, err := strconv.Atoi(fields[12])
	must(err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
