package pull

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Reference is what to pull: a file of a repository, or a URL.
type Reference struct {
	Repo     string // OWNER/NAME, "" for a URL
	Revision string // branch, tag or commit
	Pick     string // file or quantisation, "" for the default
	URL      string
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Parse reads REPO[@REVISION][:FILE|:QUANT] or a URL. The URL of a file or repository on the endpoint
// (or on huggingface.co) is read as such, so that its checksum is known.
func Parse(s, endpoint string) (Reference, error) {
	if strings.Contains(s, "://") {
		return parseURL(s, endpoint)
	}
	s = strings.TrimPrefix(strings.TrimPrefix(s, "hf.co/"), "huggingface.co/")
	repo, pick, picked := strings.Cut(s, ":")
	repo, revision, pinned := strings.Cut(repo, "@")
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") || (picked && pick == "") || (pinned && revision == "") {
		return Reference{}, fmt.Errorf("%w: %q: write OWNER/REPO, OWNER/REPO:QUANT (such as Q4_K_M), OWNER/REPO:FILE.gguf, or a URL", ErrReference, s)
	}
	if !pinned {
		revision = "main"
	}
	return Reference{Repo: repo, Revision: revision, Pick: pick}, nil
}

func parseURL(s, endpoint string) (Reference, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return Reference{}, fmt.Errorf("%w: %q: only http:// and https:// URLs can be fetched", ErrReference, s)
	}
	if e, err := url.Parse(endpoint); err == nil && (u.Host == e.Host || u.Host == "huggingface.co" || u.Host == "hf.co") {
		rest := strings.Split(strings.Trim(strings.TrimPrefix(u.Path, strings.TrimSuffix(e.Path, "/")), "/"), "/")
		repo := strings.Join(rest[:min(2, len(rest))], "/")
		switch {
		case !repoName.MatchString(repo):
		case len(rest) == 2:
			return Reference{Repo: repo, Revision: "main"}, nil
		case len(rest) >= 5 && (rest[2] == "resolve" || rest[2] == "blob" || rest[2] == "raw"):
			return Reference{Repo: repo, Revision: rest[3], Pick: strings.Join(rest[4:], "/")}, nil
		case len(rest) == 4 && rest[2] == "tree":
			return Reference{Repo: repo, Revision: rest[3]}, nil
		}
	}
	if base := path.Base(u.Path); !strings.EqualFold(path.Ext(base), ".gguf") {
		return Reference{}, fmt.Errorf("%w: %s does not end in .gguf", ErrReference, u.Redacted())
	}
	return Reference{URL: s}, nil
}

// safe says that a name from a server stays below the folder it is put into.
func safe(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && !strings.ContainsAny(name, "\\\x00:") && path.Clean(name) == name
}
