// Package start makes the process a replica before the function's own package is initialised, which imports it.
package start

import "kubeserverless/shim"

func init() {
	shim.Specialise()
}

// Register names the handler; the generated code calls it.
func Register(handler any) {
	shim.Register(handler)
}
