package logql

import (
	"net/netip"
	"strings"
)

// addresses are those from one to another, both included.
type addresses struct{ from, to netip.Addr }

// parseAddresses reads an address, a range from-to, or a prefix.
func parseAddresses(s string) (addresses, error) {
	if from, to, ok := strings.Cut(s, "-"); ok {
		a, err := netip.ParseAddr(from)
		if err != nil {
			return addresses{}, err
		}
		b, err := netip.ParseAddr(to)
		if err != nil {
			return addresses{}, err
		}
		return addresses{a, b}, nil
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return addresses{}, err
		}
		return addresses{p.Masked().Addr(), last(p)}, nil
	}
	a, err := netip.ParseAddr(s)
	return addresses{a, a}, err
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}

func (r addresses) contains(a netip.Addr) bool {
	return a.BitLen() == r.from.BitLen() && !a.Less(r.from) && !r.to.Less(a)
}

// in says whether one of the addresses is in the line.
func (r addresses) in(line string) bool {
	digits := isIPv4
	if r.from.Is6() {
		digits = isIPv6
	}
	for line != "" {
		start := strings.IndexFunc(line, digits)
		if start < 0 {
			return false
		}
		line = line[start:]
		n := run(line, digits)
		if a, err := netip.ParseAddr(line[:n]); err == nil && r.contains(a) {
			return true
		}
		line = line[n:]
	}
	return false
}

func isIPv4(r rune) bool { return r == '.' || r >= '0' && r <= '9' }

func isIPv6(r rune) bool {
	return isIPv4(r) || r == ':' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}
