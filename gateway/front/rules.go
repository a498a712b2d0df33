package front

import "github.com/prometheus/prometheus/rules"

// noRules are a gateway's recording and alerting rules: it has none.
type noRules struct{}

func (noRules) RuleGroups() []*rules.Group           { return nil }
func (noRules) AlertingRules() []*rules.AlertingRule { return nil }
