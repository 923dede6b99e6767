package llamacpp

import (
	"os"

	"github.com/outrider-llm/outrider/models"
)

// file returns a path that llama.cpp can open and what to call once it has the model.
func file(model string) (path string, remove func(), err error) {
	data, ok := models.Embedded(model)
	if !ok {
		return model, func() {}, nil
	}
	if path, remove, err = memoryFile(model, data); err == nil {
		return path, remove, nil
	}
	return temporaryFile(model, data)
}

// temporaryFile writes data to a file in the system's folder for such files. A process that is killed
// while it loads leaves it there.
func temporaryFile(model string, data []byte) (path string, remove func(), err error) {
	f, err := os.CreateTemp("", model+"-*.gguf")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.Remove(f.Name()) } // it may be gone already
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}
