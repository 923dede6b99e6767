//go:build !race

package main

func dropExitSleep() {}
