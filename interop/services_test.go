package interop

import (
	"context"
	"fmt"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The hash of the whole database file is the same whoever serves it, at every change of hands.
func TestHashOfTheDatabaseIsThatOfEtcd(t *testing.T) {
	bins := []string{ours(t), tool(t, "etcd")}
	dir, p := t.TempDir()+"/data", freePorts(t)
	var before uint32
	for round := range 4 {
		s := start(t, bins[round%2], dir, p)
		maintenance := pb.NewMaintenanceClient(s.client.ActiveConnection())
		hash := func() uint32 {
			t.Helper()
			got, err := maintenance.Hash(ctx(t), &pb.HashRequest{})
			if err != nil {
				t.Fatal(err)
			}
			return got.Hash
		}
		if now := hash(); round > 0 && now != before {
			t.Fatalf("round %d: the hash was %d and is %d", round, before, now)
		}
		mixedLoad(t, s, int64(round), 200)
		changed := hash()
		if changed == before {
			t.Fatalf("round %d: the hash is still %d", round, before)
		}
		if _, err := s.client.Defragment(ctx(t), s.url); err != nil {
			t.Fatal(err)
		}
		if before = hash(); before != changed {
			t.Fatalf("round %d: defragmenting changed the hash from %d to %d", round, changed, before)
		}
		s.stop()
		s.client.Close()
	}
}

// The standard health service says the same on both, word for word.
func TestHealthServiceIsThatOfEtcd(t *testing.T) {
	p := newPair(t)
	for _, service := range []string{"", "etcdserverpb.KV", "nothing"} {
		p.same(healthpb.Health_Check_FullMethodName, &healthpb.HealthCheckRequest{Service: service}, &healthpb.HealthCheckResponse{})
		var first [2]string
		for i, s := range p.both {
			watched, cancel := context.WithCancel(ctx(t))
			stream, err := healthpb.NewHealthClient(s.client.ActiveConnection()).
				Watch(watched, &healthpb.HealthCheckRequest{Service: service})
			if err != nil {
				t.Fatal(err)
			}
			got, err := stream.Recv()
			first[i] = fmt.Sprint(got.GetStatus(), status.Convert(err))
			cancel()
		}
		if first[0] != first[1] {
			t.Errorf("watching %q: etcd %s, ours %s", service, first[0], first[1])
		}
	}
	p.same(healthpb.Health_List_FullMethodName, &healthpb.HealthListRequest{}, &healthpb.HealthListResponse{})
}

// Reflection names every service that is served, and defines each with its methods. etcd has none,
// so its own service descriptions are the measure.
func TestReflectionDefinesWhatIsServed(t *testing.T) {
	s := start(t, ours(t), t.TempDir()+"/data", freePorts(t))
	stream, err := reflectionpb.NewServerReflectionClient(s.client.ActiveConnection()).ServerReflectionInfo(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.OriginalRequest, q) {
			t.Fatalf("asked %v, the answer is to %v", q, got.OriginalRequest)
		}
		return got
	}
	listed := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	var names []string
	for _, service := range listed.GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	for _, want := range []*grpc.ServiceDesc{&pb.KV_ServiceDesc, &pb.Watch_ServiceDesc, &pb.Lease_ServiceDesc, &pb.Cluster_ServiceDesc, &pb.Maintenance_ServiceDesc, &healthpb.Health_ServiceDesc} {
		if !slices.Contains(names, want.ServiceName) {
			t.Errorf("%s is not among %v", want.ServiceName, names)
			continue
		}
		found := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: want.ServiceName},
		})
		compareService(t, want, found.GetFileDescriptorResponse().GetFileDescriptorProto())
	}
	unknown := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "no.Such"},
	})
	if unknown.GetErrorResponse().GetErrorCode() != 5 {
		t.Errorf("an unknown symbol: %v", unknown)
	}
}

func compareService(t *testing.T, want *grpc.ServiceDesc, files [][]byte) {
	t.Helper()
	methods := map[string]bool{}
	for _, encoded := range files {
		var file descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(encoded, &file); err != nil {
			t.Fatal(err)
		}
		for _, service := range file.Service {
			if file.GetPackage()+"."+service.GetName() != want.ServiceName {
				continue
			}
			for _, method := range service.Method {
				methods[method.GetName()] = true
			}
		}
	}
	for _, method := range want.Methods {
		if !methods[method.MethodName] {
			t.Errorf("%s has no method %s", want.ServiceName, method.MethodName)
		}
	}
	for _, stream := range want.Streams {
		if !methods[stream.StreamName] {
			t.Errorf("%s has no stream %s", want.ServiceName, stream.StreamName)
		}
	}
}
