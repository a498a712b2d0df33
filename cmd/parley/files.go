package main

import (
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFS writes the files of a file system over those of a folder.
func replaceFS(dir string, from fs.FS) error {
	return fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.MkdirAll(path, 0o700)
		}
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o600)
	})
}
