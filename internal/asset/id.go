package asset

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
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
type Mint struct{ secret []byte }

// NewMint makes a mint with a secret of at least 16 bytes.
func NewMint(secret []byte) *Mint { return &Mint{secret} }

// New makes an id for an image uploaded at a time.
func (m *Mint) New(at time.Time) ID {
	var id ID
	ms := at.UnixMilli()
	for i := 5; i >= 0; i-- {
		id[i] = byte(ms)
		ms >>= 8
	}
	_, _ = rand.Read(id[6:idSigned])
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
