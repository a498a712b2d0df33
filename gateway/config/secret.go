package config

import (
	"fmt"
	"os"
)

// The size of a pseudonym key, in bytes.
const (
	minKey = 32
	maxKey = 4096
)

// othersMask are the permissions a key must not give: any to others, and
// writing to the group. Reading may be given to the group, as Kubernetes does
// for a pod's own.
const othersMask = 0o027

// Key reads the key: the bytes of the file as they are. The error never quotes
// them.
func (p Pseudonyms) Key() ([]byte, error) {
	if problem := file(p.KeyFile); problem != "" {
		return nil, fmt.Errorf("the pseudonym key %s", problem)
	}
	info, err := os.Stat(p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the pseudonym key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&othersMask != 0 {
		return nil, fmt.Errorf("the pseudonym key %s can be read or changed by others (mode %04o): chmod 600 %s", p.KeyFile, mode, p.KeyFile)
	}
	if n := info.Size(); n < minKey || n > maxKey {
		return nil, fmt.Errorf("the pseudonym key %s has %d bytes, and %d to %d are wanted: openssl rand -out %s %d", p.KeyFile, n, minKey, maxKey, p.KeyFile, minKey)
	}
	key, err := os.ReadFile(p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the pseudonym key: %w", err)
	}
	return key, nil
}
