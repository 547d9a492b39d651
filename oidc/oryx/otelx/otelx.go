// Package otelx stands in for the same-named package of github.com/ory/x.
package otelx

import "go.opentelemetry.io/otel/trace"

// End closes the span; fosite passes the error its caller returns.
func End(span trace.Span, _ *error) { span.End() }
