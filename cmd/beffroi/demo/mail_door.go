package demo

import (
	"net"
	"sync"
)

// door is a listener that remembers the connections it let in. Neither mail
// library closes a connection accepted while it shuts down; door does.
type door struct {
	net.Listener

	mu     sync.Mutex
	closed bool
	inside map[*visitor]struct{}
}

type visitor struct {
	net.Conn
	door *door
}

func newDoor(ln net.Listener) *door {
	return &door{Listener: ln, inside: make(map[*visitor]struct{})}
}

func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	v := &visitor{Conn: conn, door: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	d.inside[v] = struct{}{}
	return v, nil
}

func (v *visitor) Close() error {
	v.door.mu.Lock()
	delete(v.door.inside, v)
	v.door.mu.Unlock()
	return v.Conn.Close()
}

// hangUp closes every connection and lets nobody in any more.
func (d *door) hangUp() {
	d.mu.Lock()
	d.closed = true
	inside := d.inside
	d.inside = make(map[*visitor]struct{})
	d.mu.Unlock()
	for v := range inside {
		v.Conn.Close()
	}
}
