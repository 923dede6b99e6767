package openai

// prediction reads the text that is expected in the answer; it is a source of proposals.
func (o *object) prediction(name string) string {
	if !o.has(name) {
		return ""
	}
	p := o.sub(name)
	if kind := p.must("type"); kind != "content" {
		p.fail("type", "invalid_value", "'%stype' is %.40q, must be content", p.path, kind)
	}
	return p.content("content")
}
