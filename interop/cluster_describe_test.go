package interop

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// describe is what every member says of itself, for tests that found something wrong.
func (c *cluster) describe() string {
	var text strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&text, "\n%s:", n.name)
		if !n.runs() {
			text.WriteString(" does not run")
			continue
		}
		client := c.dial(n)
		status, err := client.Status(short(c.t), n.client)
		client.Close()
		if err != nil {
			fmt.Fprintf(&text, " %v", err)
		} else {
			fmt.Fprintf(&text, " revision %d, leader %x, term %d, index %d, applied %d, errors %v",
				status.Header.Revision, status.Leader, status.RaftTerm, status.RaftIndex, status.RaftAppliedIndex, status.Errors)
		}
		for _, line := range watchLines(n.client) {
			text.WriteString("\n  " + line)
		}
	}
	return text.String()
}

// watchLines are the metrics of a member that tell of its watchers.
func watchLines(url string) []string {
	if !strings.HasPrefix(url, "http") {
		url = "http://" + url
	}
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		return []string{err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, line := range strings.Split(string(body), "\n") {
		for _, name := range []string{"etcd_debugging_mvcc_watcher_total", "etcd_debugging_mvcc_watch_stream_total", "etcd_debugging_mvcc_slow_watcher_total", "etcd_debugging_mvcc_pending_events_total"} {
			if strings.HasPrefix(line, name) {
				found = append(found, line)
			}
		}
	}
	return found
}
