package demo

// usersOfACustomer is how many users each customer has.
const usersOfACustomer = 4

var firstNames = []string{
	"amina", "ben", "chiara", "dmitri", "elif", "farah", "goran", "hana",
	"ines", "jonas", "kavya", "liam", "mei", "nadia", "omar", "paula",
}

var lastNames = []string{
	"adeyemi", "berg", "castillo", "dubois", "eriksen", "fischer", "gupta", "haddad", "ito",
	"jansen", "kowalski", "lindqvist", "moreau", "novak", "okafor", "petrova", "rossi",
}

// people hands out names, no two the same: the lengths of the lists have no
// divisor in common.
type people struct{ next uint64 }

func newPeople(seed uint64) *people { return &people{next: seed} }

func (p *people) users(of customer) []user {
	var out []user
	for range usersOfACustomer {
		name := firstNames[p.next%uint64(len(firstNames))] + "." + lastNames[p.next%uint64(len(lastNames))]
		out = append(out, user{email: name + "@" + of.domain, customer: of.name})
		p.next++
	}
	return out
}
