//go:build !linux

package main

// clockAdvice is empty where one cannot ask.
func clockAdvice() string { return "" }
