package servers

import "syscall"

// endWithParent lets the kernel end a server whose test was itself ended, by a
// timeout for example, before it could clean up.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
