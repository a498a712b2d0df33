package federation

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ExchangeID names one question of a user in the evidence of every gateway
// that takes part in it. The asker's gateway makes it: a UUID of version 7 (RFC
// 9562, section 5.7) in its canonical text form, which holds the time it was
// made at. The zero ExchangeID names nothing.
type ExchangeID string

// NewExchangeID returns an id made at a time.
func NewExchangeID(at time.Time) ExchangeID {
	id := uuid.Must(uuid.NewV7()) // panics where there is no randomness, as all cryptography here does
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	return ExchangeID(id.String())
}

// ParseExchangeID returns s as an ExchangeID, or an error that says what one
// looks like.
func ParseExchangeID(s string) (ExchangeID, error) {
	if _, err := ExchangeID(s).Time(); err != nil {
		return "", err
	}
	return ExchangeID(s), nil
}

// Time is when the id was made, to the millisecond, by the clock of who made
// it. The error is that of ParseExchangeID.
func (e ExchangeID) Time() (time.Time, error) {
	id, err := uuid.Parse(string(e))
	if err != nil || id.String() != string(e) || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		return time.Time{}, fmt.Errorf("exchange id %.40q: want a UUID of version 7 in lower case, such as 019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17", string(e))
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC(), nil
}
