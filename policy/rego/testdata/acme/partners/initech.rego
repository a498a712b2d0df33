# initech is answered during the day, and only about what is over.
package parley.partners.initech

import data.shifts.day

decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}]} if {
	hour := time.clock(time.parse_rfc3339_ns(input.now.time))[0]
	hour >= day.from
	hour < day.to
	over(input)
}

over(question) if question.window.end.unix < question.now.unix
