package logql

import (
	"errors"
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
		if err == nil && (a.BitLen() != b.BitLen() || b.Less(a)) {
			err = errors.New("the range ends before it begins")
		}
		return addresses{a, b}, err
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

// in says whether one of the addresses is in the text. Where addresses are
// looked for in it is as Loki does: where something like 1., 12., 123. or a: of
// hexadecimal digits begins, as far as characters of addresses go. Four
// characters at the end are not an IPv6 address.
func (r addresses) in(text string) bool {
	for i := 0; i < len(text); i++ {
		var n int
		switch rest := text[i:]; {
		case len(rest) >= len("1.1.1.1") && isDigit(rest[0]) && strings.IndexByte(rest[1:4], '.') >= 0:
			n = run(rest, isIPv4)
		case len(rest) >= len("::1/1") && (isHex(rest[0]) && strings.IndexByte(rest[1:5], ':') >= 0 || strings.HasPrefix(rest, "::")):
			n = run(rest, isIPv6)
		default:
			continue
		}
		if a, err := netip.ParseAddr(text[i : i+n]); err == nil && r.contains(a) {
			return true
		}
		i += n
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isIPv4(r rune) bool { return r == '.' || r >= '0' && r <= '9' }

func isIPv6(r rune) bool { return r < 0x80 && (r == '.' || r == ':' || isHex(byte(r))) }
