package demo

import (
	prom "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/parley-gateway/parley/federation/metrics"
)

// help is the metadata of the metrics, by name.
var help = map[string]metadata.Metadata{
	"up":                                   {Type: prom.MetricTypeGauge, Help: "Whether the last scrape of the pod went well."},
	"http_requests_total":                  {Type: prom.MetricTypeCounter, Help: "HTTP requests answered."},
	"http_request_duration_seconds":        {Type: prom.MetricTypeHistogram, Unit: "seconds", Help: "How long HTTP requests took, in classic buckets."},
	"http_request_duration_native_seconds": {Type: prom.MetricTypeHistogram, Unit: "seconds", Help: "How long HTTP requests took, as a native histogram."},
	"agent_queue_length":                   {Type: prom.MetricTypeGauge, Help: "Jobs that wait for an agent."},
	"agent_executions_total":               {Type: prom.MetricTypeCounter, Help: "Jobs an agent finished."},
	"agent_execution_seconds":              {Type: prom.MetricTypeHistogram, Unit: "seconds", Help: "How long an agent worked on a job, in classic buckets."},
	"agent_execution_native_seconds":       {Type: prom.MetricTypeHistogram, Unit: "seconds", Help: "How long an agent worked on a job, as a native histogram."},
	"workflow_active":                      {Type: prom.MetricTypeGauge, Help: "Workflows under way."},
	"human_response_seconds":               {Type: prom.MetricTypeHistogram, Unit: "seconds", Help: "How long a workflow waited for a person's response."},
	"human_response_pending":               {Type: prom.MetricTypeGauge, Help: "Steps that wait for a person's response."},
	"billing_revenue_total":                {Type: prom.MetricTypeCounter, Help: "What was charged to a customer."},
	"payroll_total":                        {Type: prom.MetricTypeCounter, Help: "What was earned by an employee."},
	"internal_margin_ratio":                {Type: prom.MetricTypeGauge, Help: "What is left of a customer's revenue."},
	"internal_flags":                       {Type: prom.MetricTypeGauge, Help: "What is being tried out."},
}

func describe(store *metrics.TSDB) {
	for name, m := range help {
		store.Describe(name, m)
	}
}
