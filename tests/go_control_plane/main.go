// A control plane on go-control-plane's snapshot cache, for tests: it serves what standard input says and prints what
// clients ask, a line of JSON each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	secretservice "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	// Messages that may stand in an Any of an update.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// Every client gets the same snapshot, whatever its node.
type everybody struct{}

func (everybody) ID(*core.Node) string { return "all" }

// What standard input says: all resources, as serialized Anys in Base64, by version.
type update struct {
	Version   string   `json:"version"`
	Resources [][]byte `json:"resources"`
}

// What is printed: a request of a client, or what became of an update.
type event struct {
	Event string   `json:"event"`
	Type  string   `json:"type,omitempty"`
	Names []string `json:"names,omitempty"`
	// The version that the client has; empty in incremental requests.
	Version string `json:"version,omitempty"`
	Nonce   string `json:"nonce,omitempty"`
	Error   string `json:"error,omitempty"`
	Port    int    `json:"port,omitempty"`
}

var out sync.Mutex

func tell(e event) {
	out.Lock()
	defer out.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func onRequest(_ int64, r *discovery.DiscoveryRequest) error {
	tell(event{"request", r.TypeUrl, r.ResourceNames, r.VersionInfo, r.ResponseNonce, r.GetErrorDetail().GetMessage(), 0})
	return nil
}

func onDelta(_ int64, r *discovery.DeltaDiscoveryRequest) error {
	tell(event{"delta", r.TypeUrl, r.ResourceNamesSubscribe, "", r.ResponseNonce, r.GetErrorDetail().GetMessage(), 0})
	return nil
}

func snapshotOf(u update) (*cache.Snapshot, error) {
	resources := map[string][]types.Resource{}
	for _, data := range u.Resources {
		var any anypb.Any
		if err := proto.Unmarshal(data, &any); err != nil {
			return nil, err
		}
		message, err := any.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		resources[any.TypeUrl] = append(resources[any.TypeUrl], message)
	}
	return cache.NewSnapshot(u.Version, resources)
}

func register(s *grpc.Server, srv server.Server) {
	discovery.RegisterAggregatedDiscoveryServiceServer(s, srv)
	clusterservice.RegisterClusterDiscoveryServiceServer(s, srv)
	endpointservice.RegisterEndpointDiscoveryServiceServer(s, srv)
	listenerservice.RegisterListenerDiscoveryServiceServer(s, srv)
	routeservice.RegisterRouteDiscoveryServiceServer(s, srv)
	secretservice.RegisterSecretDiscoveryServiceServer(s, srv)
}

func main() {
	ads := len(os.Args) > 1 && os.Args[1] == "--ads"
	snapshots := cache.NewSnapshotCache(ads, everybody{}, nil)
	callbacks := server.CallbackFuncs{StreamRequestFunc: onRequest, StreamDeltaRequestFunc: onDelta}
	service := grpc.NewServer()
	register(service, server.NewServer(context.Background(), snapshots, callbacks))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { panic(service.Serve(listener)) }()
	tell(event{Event: "listening", Port: listener.Addr().(*net.TCPAddr).Port})
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var u update
		if err := json.Unmarshal(line, &u); err != nil {
			panic(err)
		}
		snapshot, err := snapshotOf(u)
		if err == nil && ads {
			err = snapshot.Consistent()
		}
		if err == nil {
			err = snapshots.SetSnapshot(context.Background(), "all", snapshot)
		}
		failure := ""
		if err != nil {
			failure = err.Error()
		}
		tell(event{Event: "set", Version: u.Version, Error: failure})
	}
}
