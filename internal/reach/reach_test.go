package reach

import (
	"net/netip"
	"testing"
)

func TestStrangersAreKeptOutOfInnerNetworks(t *testing.T) {
	for text, may := range map[string]struct{ near, inner, stranger bool }{
		"93.184.215.14": {false, true, true}, "2a01:4f8::1": {false, true, true}, "::ffff:93.184.215.14": {false, true, true},
		"10.1.2.3": {false, true, false}, "172.16.0.1": {false, true, false}, "192.168.1.1": {false, true, false}, "100.64.0.1": {false, true, false}, "fd00::1": {false, true, false},
		"198.18.0.1": {false, true, false}, "0.1.2.3": {false, true, false}, "255.255.255.255": {false, true, false}, "240.0.0.1": {false, true, false}, "::ffff:10.1.2.3": {false, true, false},
		"::10.1.2.3": {false, true, false}, "64:ff9b::a01:203": {false, true, false}, "64:ff9b::7f00:1": {false, true, false}, "2002:a01:203::1": {false, true, false}, "2001:0:a01::1": {false, true, false}, "fec0::1": {false, true, false},
		"127.0.0.1": {true, false, false}, "::1": {true, false, false}, "::ffff:127.0.0.1": {true, false, false},
		"169.254.169.254": {}, "fe80::1": {}, "224.0.0.1": {}, "ff02::1": {}, "0.0.0.0": {}, "::": {},
	} {
		ip := netip.MustParseAddr(text)
		if near, inner, stranger := May(ip, true, false) == nil, May(ip, false, true) == nil, May(ip, false, false) == nil; near != may.near || inner != may.inner || stranger != may.stranger {
			t.Errorf("%s: near %v, inner %v, stranger %v", text, near, inner, stranger)
		}
	}
}
