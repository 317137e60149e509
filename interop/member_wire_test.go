package interop

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// streamsTold is how many streams a server says that a connection may have at once.
func streamsTold(t *testing.T, url string) string {
	t.Helper()
	scheme, address, _ := strings.Cut(url, "://")
	var conn net.Conn
	var err error
	if scheme == "https" {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
		conn, err = tls.Dial("tcp", address, config)
	} else {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			if max, ok := settings.Value(http2.SettingMaxConcurrentStreams); ok {
				return fmt.Sprint(max)
			}
			return "without limit"
		}
	}
}

// What both servers say of streams on the wire, for limits that fit 31 bits and others.
func TestStreamLimitsOnTheWire(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, limit := range []string{"", "7", "2147483647", "2147483648", "4294967295"} {
			t.Run(scheme+limit, func(t *testing.T) {
				t.Parallel()
				told := map[string]string{}
				for _, bin := range []string{ours(t), tool(t, "etcd")} {
					c := newCluster(t, []string{bin})
					n := c.nodes[0]
					if limit != "" {
						n.args = append(n.args, "--max-concurrent-streams="+limit)
					}
					n.client = strings.Replace(n.client, "http", scheme, 1)
					if scheme == "https" {
						n.args = append(n.args, "--auto-tls")
					}
					n.launch()
					web := &http.Client{Transport: &http.Transport{
						TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
					}}
					poll(t, 40*time.Second, func() error {
						resp, err := web.Get(n.client + "/version")
						if err == nil {
							resp.Body.Close()
						}
						return err
					})
					told[bin] = streamsTold(t, n.client)
					n.stop()
				}
				if mine, theirs := told[ours(t)], told[tool(t, "etcd")]; mine != theirs {
					t.Errorf("ours says %s, etcd %s", mine, theirs)
				}
			})
		}
	}
}
