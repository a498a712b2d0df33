package servers

import "testing"

// CollectorConfig says what an OpenTelemetry Collector does.
type CollectorConfig struct {
	// Config is the file of its configuration. Addresses in it are environment
	// variables: OTLP_GRPC_LISTEN and OTLP_HTTP_LISTEN, which are chosen here, and
	// those of Environment.
	Config string
	// Environment are more variables, name=value.
	Environment []string
	// Set overrides values of the configuration, such as
	// service::pipelines::traces::processors=[a].
	Set []string
}

// Collector is a running OpenTelemetry Collector.
type Collector struct {
	*Server
	OTLPGRPC string // host:port that takes OTLP over gRPC
}

// StartCollector starts one.
func StartCollector(t testing.TB, c CollectorConfig) Collector {
	t.Helper()
	grpc, http := freeAddress(t), freeAddress(t)
	l := launch{
		name:        "collector",
		program:     Program(t, "collector", "collector"),
		ready:       "/",
		environment: append([]string{"OTLP_GRPC_LISTEN=" + grpc, "OTLP_HTTP_LISTEN=" + http}, c.Environment...),
		arguments: func(health string) []string {
			arguments := []string{"--config=file:" + c.Config, "--set=extensions::health_check::endpoint=" + health}
			for _, set := range c.Set {
				arguments = append(arguments, "--set="+set)
			}
			return arguments
		},
	}
	return Collector{Server: l.start(t), OTLPGRPC: grpc}
}
