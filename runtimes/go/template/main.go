//go:build ignore

// The main package of every function's program.
package main

import (
	_ "function"

	"kubeserverless/shim"
)

func main() { shim.Run() }
