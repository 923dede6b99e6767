// Command outrider-llamacpp is the model plugin that runs models with llama.cpp.
package main

import (
	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp"
)

func main() { backend.Serve(llamacpp.Load) }
