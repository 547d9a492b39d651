// Package errorsx stands in for the same-named package of github.com/ory/x.
// fosite asks only these few names of that module, which would otherwise bring
// in three hundred others and their advisories (docs/decisions/0002). The
// interfaces are fosite's contract; stack traces are not kept.
package errorsx

import "errors"

// WithStack returns err unchanged: our log line already says where it was met.
func WithStack(err error) error { return err }

// Cause follows Unwrap to the innermost error.
func Cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

type (
	DebugCarrier      interface{ Debug() string }
	DetailsCarrier    interface{ Details() map[string]interface{} }
	ReasonCarrier     interface{ Reason() string }
	RequestIDCarrier  interface{ RequestID() string }
	StatusCarrier     interface{ Status() string }
	StatusCodeCarrier interface{ StatusCode() int }
)
