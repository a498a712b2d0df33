# Of whom our own users may ask: of ourselves, and of every partner whose
# agreement names the signal and the purpose or a broader one.
# A package parley.ask in the policy folder takes the place of this one.
package parley.default.ask

default decision := {"allow": false, "reasons": ["no agreement names this signal and purpose"]}

decision := {"allow": true} if input.owner == input.principal.org

decision := {"allow": true} if {
	agreement := data.parley.agreements[input.owner]
	input.signal in agreement.signals
	some purpose in input.principal.purposes
	purpose in agreement.purposes
}
