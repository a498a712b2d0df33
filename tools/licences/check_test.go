package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestCheck(t *testing.T) {
	const (
		apache = "Apache License\n   Version 2.0, January 2004\n"
		mpl    = "Mozilla Public License Version 2.0\n\"Secondary License\" means either the GNU General Public License, Version 2.0, the GNU Affero General Public License, Version 3.0\n"
		agpl   = "                    GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007\n"
		busl   = "Business Source License 1.1\n"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  string // in the error; empty for accepted
	}{
		"permissive":                  {map[string]string{"LICENSE": apache}, ""},
		"two, both accepted":          {map[string]string{"LICENSE": apache, "LICENSE.libyaml": "Permission is hereby granted, free of charge"}, ""},
		"MPL names AGPL and isn't it": {map[string]string{"LICENSE.md": mpl}, ""},
		"AGPL":                        {map[string]string{"COPYING": agpl}, "COPYING is of the AGPL kind"},
		"source-available":            {map[string]string{"LICENSE": busl}, "LICENSE is of the BUSL kind"},
		"one of two refused":          {map[string]string{"LICENSE": apache, "LICENSE-enterprise": busl}, "LICENSE-enterprise is of the BUSL kind"},
		"a folder with its own":       {map[string]string{"LICENSE": apache, "server/LICENSE": agpl}, "server/LICENSE is of the AGPL kind"},
		"test data":                   {map[string]string{"LICENSE": apache, "x/testdata/LICENSE": agpl}, ""},
		"code that is named so":       {map[string]string{"LICENSE": apache, "license.go": "package x // GNU Affero"}, ""},
		"unknown":                     {map[string]string{"LICENSE": "All rights reserved."}, "no licence that is known here"},
		"none":                        {map[string]string{"README": apache}, "no licence at its root"},
	} {
		t.Run(name, func(t *testing.T) {
			module := fstest.MapFS{}
			for name, text := range c.files {
				module[name] = &fstest.MapFile{Data: []byte(text)}
			}
			err := check(module)
			if c.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}
