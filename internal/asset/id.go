package asset

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"sync"
	"time"

	"safelight/internal/fault"
)

// ID names an image: 6 bytes of Unix milliseconds (so that ids sort by time),
// 5 random bytes, and 5 bytes of a MAC over both (so that an invented id is
// refused without a lookup). As text it has 26 characters of Crockford's
// base32 in lower case.
type ID [16]byte

const idSigned = 11 // bytes of an ID that its MAC covers

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String is the id as it stands in URLs.
func (id ID) String() string { return crockford.EncodeToString(id[:]) }

// MarshalText writes the URL form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote. Text from outside goes through
// Mint.Parse instead, which checks the MAC.
func (id *ID) UnmarshalText(text []byte) error {
	var read ID
	if n, err := crockford.Decode(read[:], text); len(text) != 26 || err != nil || n != len(read) {
		return fault.New(fault.Internal, "%.40q is no id", text)
	}
	*id = read
	return nil
}

// Time is when the id was made, to the millisecond.
func (id ID) Time() time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// Mint makes and checks ids. All nodes of an installation share its secret.
// It is safe for concurrent use.
type Mint struct {
	secret []byte

	mu   sync.Mutex
	last [idSigned]byte // of the id made last
}

// NewMint makes a mint with a secret of at least 16 bytes.
func NewMint(secret []byte) *Mint { return &Mint{secret: secret} }

// New makes an id for something made at a time. Ids that one mint makes for the
// same millisecond, one after the other, sort in that order.
func (m *Mint) New(at time.Time) ID {
	var id ID
	ms := at.UnixMilli()
	for i := 5; i >= 0; i-- {
		id[i] = byte(ms)
		ms >>= 8
	}
	_, _ = rand.Read(id[6:idSigned])
	id[6] &= 0x7f // room to count up
	m.mu.Lock()
	if bytes.Equal(id[:6], m.last[:6]) {
		step := uint64(id[10]) + 1
		n := (uint64(binary.BigEndian.Uint32(m.last[6:]))<<8 | uint64(m.last[10])) + step
		binary.BigEndian.PutUint32(id[6:], uint32(n>>8))
		id[10] = byte(n)
	}
	copy(m.last[:], id[:idSigned])
	m.mu.Unlock()
	m.sign(&id)
	return id
}

func (m *Mint) sign(id *ID) {
	mac := hmac.New(sha256.New, m.secret)
	mac.Write(id[:idSigned])
	copy(id[idSigned:], mac.Sum(nil))
}

// Parse reads an id from its text. One that this mint did not make is NotFound,
// as an id that names nothing would be.
func (m *Mint) Parse(s string) (ID, error) {
	var id ID
	if len(s) != 26 {
		return id, fault.New(fault.NotFound, "there is no image with this id")
	}
	if n, err := crockford.Decode(id[:], []byte(s)); err != nil || n != len(id) || id.String() != s {
		return ID{}, fault.New(fault.NotFound, "there is no image with this id")
	}
	want := id
	m.sign(&want)
	if subtle.ConstantTimeCompare(want[:], id[:]) != 1 {
		return ID{}, fault.New(fault.NotFound, "there is no image with this id")
	}
	return id, nil
}
