// Package reach decides which machines an address that somebody else wrote down
// may lead to. Such an address (of an application that registered itself, of a
// picture in a mail) is a way to make this server knock at doors of the inner
// network (server-side request forgery).
//
// It promises: the decision falls on the IP address that is dialled, after names
// are resolved, so that no name, redirect or second answer of the DNS goes round it.
package reach

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// May tells why an address is not dialled: near, for names of this machine;
// inner, where the academy's own networks may be reached.
func May(ip netip.Addr, near, inner bool) error {
	ip = ip.Unmap()
	switch {
	case ip.IsLoopback() != near:
		return fmt.Errorf("%s: the address means another machine than it says", ip)
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified():
		return fmt.Errorf("%s is no address of a server", ip)
	case !near && !inner && (!ip.IsGlobalUnicast() || ip.IsPrivate() || slices.ContainsFunc(special, func(net netip.Prefix) bool { return net.Contains(ip) })):
		return fmt.Errorf("%s is of an inner network, which is not reached on a stranger's word", ip)
	}
	return nil
}

// special are networks of IANA's registries of special-purpose addresses that
// are not the internet, or that carry an address of another kind inside.
var special = func() (all []netip.Prefix) {
	for _, s := range strings.Fields("0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 " +
		"::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 fec0::/10") {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

// Dialer dials what may lets it dial, within the time.
func Dialer(patience time.Duration, may func(netip.Addr) error) *net.Dialer {
	return &net.Dialer{Timeout: patience, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return may(at.Addr())
	}}
}
