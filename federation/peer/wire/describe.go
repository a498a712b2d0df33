package wire

import (
	"errors"

	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// Description is what a gateway says of itself.
type Description struct {
	Org tenants.OrgID
	// Version of the gateway, for people; one line.
	Version string
	// Signals that the asker may ask it about today.
	Signals []tenants.Signal
}

// EncodeDescription returns the message.
func EncodeDescription(d Description) *federationv1.DescribeResponse {
	m := &federationv1.DescribeResponse{Org: string(d.Org), Version: d.Version}
	for _, s := range d.Signals {
		m.Signals = append(m.Signals, string(s))
	}
	return m
}

// DecodeDescription is the inverse. Signals that this version doesn't know are
// left out: it can't ask about them.
func DecodeDescription(m *federationv1.DescribeResponse) (Description, error) {
	org, err := tenants.ParseOrgID(m.GetOrg())
	if err != nil {
		return Description{}, errors.New("a name that no organization has")
	}
	if !plain(m.GetVersion(), maxLabel) {
		return Description{}, errors.New("a version that can't be shown")
	}
	d := Description{Org: org, Version: m.GetVersion()}
	for _, s := range m.GetSignals() {
		if signal, err := tenants.ParseSignal(s); err == nil {
			d.Signals = append(d.Signals, signal)
		}
	}
	return d, nil
}
