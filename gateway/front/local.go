package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// notLocal is what a request from elsewhere is told.
var notLocal = apiError{
	status: http.StatusForbidden, kind: "forbidden",
	message: "this door asks nobody who they are, so it is for this machine: use http://localhost or http://127.0.0.1, not another name, and not from a page of another site",
}

// fromElsewhere says whether a request came for a web page of another site. The
// address of the connection doesn't tell: it is that of the browser. But a page
// can't choose the Host it is at, so that a name of its own which it points at
// 127.0.0.1 (DNS rebinding) shows; and browsers say themselves what is
// cross-site (https://www.w3.org/TR/fetch-metadata/).
func fromElsewhere(r *http.Request) bool {
	return !isLoopback(r.Host) || r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// isLoopback says whether a Host, with or without a port, is this machine. One
// that is missing, as in HTTP/1.0, is no browser's.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
