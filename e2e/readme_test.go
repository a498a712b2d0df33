package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What README tells a writer of policies to do is what the script does, in the
// same order, and the policy it shows is the template.
func TestReadmeWritesAPolicyAsTheScriptDoes(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, section, ok := strings.Cut(read("../README.md"), "\n## Writing a policy\n")
	if !ok {
		t.Fatal("README has no section Writing a policy")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok {
			told = append(told, command)
		}
	}
	var done []string
	for line := range strings.Lines(read("testdata/script/policy_writing.txtar")) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "exec "); ok {
			done = append(done, strings.TrimSuffix(command, " --http $DEMO --for 2s"))
		}
	}
	if len(told) < 5 || len(done) < len(told) || !slices.Equal(told, done[:len(told)]) {
		t.Errorf("README says\n%s\nthe script does\n%s", strings.Join(told, "\n"), strings.Join(done, "\n"))
	}
	_, policy, _ := strings.Cut(read("../policy/rego/templates/slo-only/example.rego"), "\npackage ")
	if !strings.Contains(section, "package "+strings.ReplaceAll(policy, "example", "acme")) {
		t.Error("the policy that README shows is not the template slo-only")
	}
}
