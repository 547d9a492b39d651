package directory

import (
	"crypto/sha1" // {SSHA} and version 5 UUIDs are made of it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

// matches compares a password with a stored one: {SSHA}, {SHA}, {SSHA256},
// {SSHA512} or in clear (RFC 2307 §5.3 and its usual extensions). An unknown
// scheme matches nothing.
func matches(stored, password string) bool {
	scheme, value, found := strings.Cut(strings.TrimPrefix(stored, "{"), "}")
	if !strings.HasPrefix(stored, "{") || !found {
		return subtle.ConstantTimeCompare([]byte(stored), []byte(password)) == 1
	}
	var h hash.Hash
	switch strings.ToUpper(scheme) {
	case "SSHA", "SHA":
		h = sha1.New()
	case "SSHA256", "SHA256":
		h = sha256.New()
	case "SSHA512", "SHA512":
		h = sha512.New()
	default:
		return false
	}
	sum, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(sum) < h.Size() {
		return false
	}
	h.Write([]byte(password))
	h.Write(sum[h.Size():]) // the salt
	return subtle.ConstantTimeCompare(h.Sum(nil), sum[:h.Size()]) == 1
}

// MatchesPassword says whether a password is the one stored in a userPassword
// value, for servers that hold entries of their own.
func MatchesPassword(stored, password string) bool {
	return usablePassword(password) && matches(stored, password)
}

// EntryUUID is the identifier of an entry that has none: the name-based UUID
// (version 5, RFC 9562 §5.5) of its DN in the X.500 name space, the DN written in
// lower case without needless spaces. It is the same at every start.
func EntryUUID(dn string) string {
	name, err := normalDN(dn)
	if err != nil {
		name = strings.ToLower(dn)
	}
	h := sha1.New()
	h.Write([]byte{0x6b, 0xa7, 0xb8, 0x14, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8})
	h.Write([]byte(name))
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
