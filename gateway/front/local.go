package front

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/tenants"
)

// notLocal is what a request for elsewhere is told.
var notLocal = apiError{
	status: http.StatusForbidden, kind: "forbidden",
	message: "what comes from this machine without a token or a certificate must be for http://localhost or http://127.0.0.1, or for a name under front.hosts in the gateway's config, and not for a page of another site",
}

// forElsewhere says whether a request came from a browser on this machine for
// a web page of another site, as far as the request itself doesn't prove whose
// it is: such a page has neither a token nor a certificate of ours.
func (f *Front) forElsewhere(r *http.Request) bool {
	if !fromThisMachine(r) || !f.fromElsewhere(r) {
		return false
	}
	user, err := f.config.Authenticator.User(r)
	return err != nil || user.Proof != tenants.ProvenBySVID && user.Proof != tenants.ProvenByJWT
}

// fromThisMachine says whether the connection was made on this machine. One
// whose address can't be read, as of a socket that is a file, was.
func fromThisMachine(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	return err != nil || remote.Addr().Unmap().IsLoopback()
}

// fromElsewhere says whether a request came for a web page of another site. The
// address of the connection doesn't tell: it is that of the browser. But a page
// can't choose the Host it is at, so that a name of its own which it points at
// 127.0.0.1 (DNS rebinding) shows; and browsers say themselves what is
// cross-site (https://www.w3.org/TR/fetch-metadata/).
func (f *Front) fromElsewhere(r *http.Request) bool {
	host := hostOf(r.Host)
	isOurs := isLoopback(host) || slices.ContainsFunc(f.config.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
	return !isOurs || r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// hostOf is a Host without its port.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// isLoopback says whether a host is this machine. One that is missing, as in
// HTTP/1.0, is no browser's.
func isLoopback(host string) bool {
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
