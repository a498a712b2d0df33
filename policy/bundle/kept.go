package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// Keep writes an archive to a file for the next start, whole or not at all.
func Keep(file string, archive []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(file, archive, 0o600)
}

// ReadFile reads an archive from a file.
func ReadFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	archive, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(archive) > MaxBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB", file, MaxBytes>>20)
	}
	return archive, nil
}
