module github.com/ory/x

go 1.26.0

require go.opentelemetry.io/otel/trace v1.38.0

require go.opentelemetry.io/otel v1.38.0 // indirect
