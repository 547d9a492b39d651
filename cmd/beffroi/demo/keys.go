package demo

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// Key is an OTP key of the sample academy: TOTP, six digits, SHA-1, 30 seconds.
type Key struct {
	Serial string
	School string // UAI; empty: in the academy's own drawer
	Login  string // whose it is; empty: nobody's
	State  string // stock, assigned, handed, overdue (lent, and not back) or lost
}

// Keys are the OTP keys: one at each place of their life that a helper meets.
func Keys() []Key {
	return []Key{
		{Serial: "DEMO-0001", School: "0590002B", Login: "plefebvre", State: "handed"},
		{Serial: "DEMO-0002", School: "0590002B", Login: "lwattrelos", State: "assigned"},
		{Serial: "DEMO-0003", School: "0590002B", State: "stock"},
		{Serial: "DEMO-0004", School: "0590002B", Login: "ssmith", State: "overdue"},
		{Serial: "DEMO-0005", School: "0590001A", Login: "mdupont", State: "lost"},
		{Serial: "DEMO-0006", School: "0590001A", State: "stock"},
		{Serial: "DEMO-0007", State: "stock"},
	}
}

// Seed is what the key was made with: known to everybody, as all of the demo.
func (k Key) Seed() []byte {
	sum := sha256.Sum256([]byte("beffroi demo key " + k.Serial))
	return sum[:20]
}

// KeyOf is the sample key of a serial.
func KeyOf(serial string) (Key, error) {
	for _, k := range Keys() {
		if strings.EqualFold(k.Serial, serial) {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("the sample academy has no OTP key %q; it has DEMO-0001 to DEMO-%04d", serial, len(Keys()))
}
