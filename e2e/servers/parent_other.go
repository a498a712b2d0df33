//go:build !linux

package servers

import "syscall"

// endWithParent has no equivalent outside Linux: a server whose test was
// itself ended stays.
func endWithParent() *syscall.SysProcAttr { return nil }
