package main

import "golang.org/x/sys/unix"

// clockAdvice says so when the kernel does not take this machine's clock for right: certificates and deadlines depend on it.
func clockAdvice() string {
	const unsynchronised = 5 // TIME_ERROR
	if state, err := unix.Adjtimex(&unix.Timex{}); err != nil || state != unsynchronised {
		return ""
	}
	return "nothing keeps it right, as far as the kernel knows: certificates depend on it (timedatectl set-ntp true; a container's or a virtual machine's host may do it)"
}
