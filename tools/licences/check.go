package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// licence is told by a phrase that stands in its text and in no other's.
type licence struct {
	name, phrase string
}

// refused are licences that bind whoever offers a service or hands on a
// program, wherever in a module they stand.
var refused = []licence{
	{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE Version"},
	{"GPL", "GNU GENERAL PUBLIC LICENSE Version"},
	{"SSPL", "Server Side Public License"},
	{"BUSL", "Business Source License"},
	{"Elastic", "Elastic License 2.0"},
	{"Elastic", "ELASTIC LICENSE AGREEMENT"},
	{"Commons Clause", "Commons Clause"},
	{"FSL", "Functional Source License"},
	{"PolyForm", "PolyForm"},
	{"Confluent Community", "Confluent Community License"},
}

// accepted are the licences that a module may have.
var accepted = []licence{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"BSD", "Redistributions of source code must retain"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"ISC", "Permission to use, copy, modify, and"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
	{"CC0-1.0", "CC0 1.0 Universal"},
}

// check reads a module's licence files: those at its root must each be
// accepted, those further down must not be refused. Test data isn't linked and
// isn't read.
func check(module fs.FS) error {
	atRoot := 0
	err := fs.WalkDir(module, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !isLicence(entry) {
			return nil
		}
		raw, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		text := strings.ToLower(strings.Join(strings.Fields(string(raw)), " "))
		if l, ok := find(refused, text); ok {
			return fmt.Errorf("%s is of the %s kind", name, l.name)
		}
		if path.Dir(name) != "." {
			return nil
		}
		atRoot++
		if _, ok := find(accepted, text); !ok {
			return fmt.Errorf("%s is no licence that is known here; add it to tools/licences if it may be linked", name)
		}
		return nil
	})
	if err == nil && atRoot == 0 {
		err = errors.New("there is no licence at its root")
	}
	return err
}

func isLicence(entry fs.DirEntry) bool {
	name := strings.ToLower(entry.Name())
	if !entry.Type().IsRegular() || strings.HasSuffix(name, ".go") {
		return false
	}
	return strings.HasPrefix(name, "licen") || strings.HasPrefix(name, "copying") || strings.HasPrefix(name, "unlicen")
}

func find(all []licence, text string) (licence, bool) {
	for _, l := range all {
		if strings.Contains(text, strings.ToLower(l.phrase)) {
			return l, true
		}
	}
	return licence{}, false
}
