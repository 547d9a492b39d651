package visitor

import (
	"crypto/hmac"
	"crypto/sha1" // RFC 6238's default, and what authenticator apps know
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
)

// step is how long a code lives (RFC 6238 §5.2).
const step = 30 * time.Second

// Authenticator is somebody's telephone: it shows codes for one secret, each once. A provider that allows one step of skew
// takes three in a row; after these it waits for the clock.
type Authenticator struct {
	mu     sync.Mutex
	secret []byte
	last   int64 // the step of the last code given
}

// NewAuthenticator reads the secret as it stands in an otpauth address.
func NewAuthenticator(secret string) (*Authenticator, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.TrimRight(secret, "=")))
	if err != nil {
		return nil, fmt.Errorf("secret of a second factor: %w", err)
	}
	return &Authenticator{secret: key}, nil
}

// Code gives a code that no call has given before and that a provider with one step of skew accepts now.
func (a *Authenticator) Code() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		now := time.Now().Unix() / int64(step/time.Second)
		if next := max(a.last+1, now-1); next <= now+1 {
			// the oldest of the three would expire on its way when the step is about to end
			if next == now-1 && time.Now().Unix()%30 > 26 {
				next = now
			}
			a.last = next
			return a.at(next)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Last is the code given last: using it again is a replay.
func (a *Authenticator) Last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at(a.last)
}

// at is the code of a step (RFC 4226 §5.3).
func (a *Authenticator) at(counter int64) string {
	mac := hmac.New(sha1.New, a.secret)
	binary.Write(mac, binary.BigEndian, counter)
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[offset:])&0x7fffffff%1_000_000)
}
