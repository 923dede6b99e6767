package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/models/local"
)

// errNoModels: a system without home folder.
var errNoModels = errors.New("there is no home folder: set models.dir (OUTRIDER_MODELS_DIR) to a folder for models")

// folder is where pulled models are kept.
func (c ModelsConfig) folder() (string, error) {
	dir := local.Host().Dir(c.Dir)
	if dir == "" {
		return "", errNoModels
	}
	return dir, nil
}

// find looks a name up among the models of this machine.
func (c ModelsConfig) find(name string) (local.Model, error) {
	e := local.Host()
	return local.Resolve(e.Find(e.Dir(c.Dir)), name)
}

// file is the path of a model: an embedded model's name and an existing file stay as they are, other
// names are looked up.
func (c ModelsConfig) file(name string) (string, error) {
	if base, ok := c.Named[name]; ok && base.Model != "" && base.Model != name {
		name = base.Model
	}
	if _, ok := models.Embedded(name); ok || isFile(name) {
		return name, nil
	}
	m, err := c.find(name)
	if errors.Is(err, local.ErrUnknown) {
		hint := didYouMean(name, c.names())
		if hint == "" {
			hint = ": `outrider models list` shows what there is, `outrider models pull OWNER/REPO` fetches one"
		}
		return "", fmt.Errorf("no model file %s, and no model of that name, in models, embedded or on this machine%s", name, hint)
	}
	return m.Path, err
}

// resolve replaces names by what they stand for: settings under models first, then files.
func (m *ModelConfig) resolve(c ModelsConfig) error {
	*m = c.named(*m)
	if remote(m.Engine) {
		if err := m.settleRemote(); err != nil {
			return err
		}
	}
	if m.Tokenizer != "" {
		file, err := c.file(m.Tokenizer)
		if err != nil {
			return err
		}
		m.Tokenizer = file
	}
	if m.Model == "" || m.Model == "none" || m.Engine == "mock" || remote(m.Engine) || isFile(m.Model) {
		return nil
	}
	if _, ok := models.Embedded(m.Model); ok {
		return nil
	}
	found, err := c.find(m.Model)
	switch {
	case errors.Is(err, local.ErrUnknown) && m.Engine != "" && m.Engine != "llamacpp" && !builtin(m.Engine):
		return nil // another engine's own name for a model
	case errors.Is(err, local.ErrUnknown):
		_, err = c.file(m.Model)
		return err
	case err != nil:
		return err
	case found.Parts > 1 && m.Engine != "llamacpp" && (m.Engine == "" || builtin(m.Engine)):
		return fmt.Errorf("%s has %d parts, which the built-in engine cannot read: use --engine llamacpp, or merge them with llama-gguf-split --merge",
			found.Name, found.Parts)
	}
	if m.Name == "" {
		m.Name = path.Base(strings.TrimPrefix(found.Name, found.Source+":"))
	}
	m.Model = found.Path
	return nil
}

// resolve resolves several.
func (c ModelsConfig) resolve(all []ModelConfig) error {
	for i := range all {
		if err := all[i].resolve(c); err != nil {
			return err
		}
	}
	return nil
}
