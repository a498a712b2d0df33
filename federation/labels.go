package federation

import "strings"

// OrgLabel is the label that says whose data something is. The owner's gateway
// sets it on everything it serves, and an asker takes nothing from an owner that
// says otherwise.
const OrgLabel = "org"

// ReservedPrefix begins the names of labels that mean something inside one
// gateway. No question may contain one, and none crosses a border.
const ReservedPrefix = "__parley"

// Reserved says whether a label has such a name.
func Reserved(name string) bool { return strings.HasPrefix(name, ReservedPrefix) }
