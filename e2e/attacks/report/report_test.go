package main

import "testing"

func TestReplace(t *testing.T) {
	page, err := replace([]byte("before\n"+begin+"old\n"+end+"after\n"), "new\n")
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || string(page) != want {
		t.Errorf("%s, %v; want %s", page, err, want)
	}
	if _, err := replace([]byte("nothing"), ""); err == nil {
		t.Error("a page without a place was accepted")
	}
}
