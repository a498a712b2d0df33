package demo

import "time"

// ledger is what a company would never tell: revenue by customer, the payroll
// and what is tried out internally.
type ledger struct {
	revenue  []*number
	payroll  []*number
	margin   []*number
	flags    []*number
	revenues []float64 // an hour, as revenue
	salaries []float64 // an hour, as payroll
}

func (m *model) addLedger() {
	l := &m.ledger
	for _, c := range m.plan.customers {
		l.revenue = append(l.revenue, newNumber("billing_revenue_total", "customer", c.name, "currency", "EUR"))
		l.margin = append(l.margin, newNumber("internal_margin_ratio", "customer", c.name))
		l.revenues = append(l.revenues, c.revenue)
	}
	for _, e := range m.plan.staff {
		l.payroll = append(l.payroll, newNumber("payroll_total", "employee", e.name, "department", e.department, "currency", "EUR"))
		l.salaries = append(l.salaries, e.salary)
	}
	for _, f := range m.plan.flags {
		l.flags = append(l.flags, newNumber("internal_flags", "flag", f))
	}
	for _, numbers := range [][]*number{l.revenue, l.payroll, l.margin, l.flags} {
		for _, n := range numbers {
			m.cluster.instruments = append(m.cluster.instruments, n)
		}
	}
}

// book adds what dt brought and cost.
func (l *ledger) book(c chance, dt time.Duration) {
	for i, n := range l.revenue {
		n.value += l.revenues[i] * dt.Hours() * (0.9 + 0.2*c.Float64())
		l.margin[i].value = 0.3 + 0.05*float64(i%4) + 0.01*c.Float64()
	}
	for i, n := range l.payroll {
		n.value += l.salaries[i] * dt.Hours()
	}
	for i, n := range l.flags {
		n.value = float64(i % 2)
	}
}
