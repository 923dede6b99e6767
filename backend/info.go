package backend

import (
	"fmt"
	"math"
	"slices"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func infoToProto(i *Info) *outriderv1.ModelInfo {
	return &outriderv1.ModelInfo{
		Name: i.Name, Engine: i.Engine, Architecture: i.Architecture, ContextLength: uint32(i.ContextLength),
		VocabularySize: uint32(i.VocabularySize), Vocabulary: i.Vocabulary, EndTokens: tokensToProto(i.EndTokens),
		Numerics: i.Numerics, Sequences: uint32(i.Sequences), KvTokens: uint32(i.KVTokens), Trees: i.Trees,
		Parameters: i.Parameters, ShapeDependent: i.ShapeDependent, Constraints: i.Constraints, Rules: i.Rules,
	}
}

// infoFromProto checks a plugin's description of its model.
func infoFromProto(m *outriderv1.ModelInfo) (Info, error) {
	for name, v := range map[string]uint32{"context length": m.GetContextLength(), "vocabulary": m.GetVocabularySize(),
		"number of sequences": m.GetSequences(), "KV memory": m.GetKvTokens()} {
		if v == 0 || v > math.MaxInt32 {
			return Info{}, fmt.Errorf("%w: it reports a %s of %d", errMisbehaves, name, v)
		}
	}
	i := Info{
		Name: m.GetName(), Engine: m.GetEngine(), Architecture: m.GetArchitecture(), ContextLength: int(m.GetContextLength()),
		VocabularySize: int(m.GetVocabularySize()), Vocabulary: m.GetVocabulary(), Numerics: m.GetNumerics(),
		Sequences: int(m.GetSequences()), KVTokens: int(m.GetKvTokens()), Trees: m.GetTrees(), Parameters: m.GetParameters(),
		ShapeDependent: m.GetShapeDependent(), Constraints: m.GetConstraints(), Rules: m.GetRules(),
	}
	var err error
	if i.EndTokens, err = tokensFromProto(m.GetEndTokens(), i.VocabularySize); err != nil {
		return Info{}, fmt.Errorf("%w: its end tokens: %w", errMisbehaves, err)
	}
	return i, nil
}

// same reports whether a session may go on when a restarted plugin describes its model by b.
func (i *Info) same(b *Info) bool {
	return i.Engine == b.Engine && i.Architecture == b.Architecture && i.Vocabulary == b.Vocabulary &&
		i.VocabularySize == b.VocabularySize && i.Numerics == b.Numerics && i.Parameters == b.Parameters &&
		i.ContextLength == b.ContextLength && i.ShapeDependent == b.ShapeDependent && i.Rules == b.Rules && slices.Equal(i.EndTokens, b.EndTokens)
}
