package main

import (
	"time"
)

// Config is everything that can be set. Of each setting the tags say its key, what it means (the
// table in docs/configuration.md is made of that) and whether a running server takes a new value.
type Config struct {
	Cloud  CloudConfig           `koanf:"cloud"`
	Edge   EdgeConfig            `koanf:"edge"`
	Models ModelsConfig          `koanf:"models"`
	Pairs  map[string]PairConfig `koanf:"pairs" doc:"pairs of a target and a draft, by name" live:"yes"`
	Pair   string                `koanf:"pair" doc:"the pair in force: what the cloud serves and the edge drafts with where they say nothing else" live:"yes"`
	Prices PricesConfig          `koanf:"prices"`

	Perception PerceptionConfig `koanf:"perception"`

	Log       LogConfig       `koanf:"log"`
	Telemetry TelemetryConfig `koanf:"telemetry"`

	from sources // where the values come from
}

// CloudConfig configures `outrider cloud`.
type CloudConfig struct {
	Listen      string             `koanf:"listen" doc:"gRPC address, for edges"`
	Admin       string             `koanf:"admin" doc:"HTTP address of /metrics, /healthz and /readyz; empty: none"`
	Targets     []ModelConfig      `koanf:"targets" doc:"models that are served, names or models (below); the first is the default; empty: the pair's target, or the embedded one" live:"yes"`
	FailFast    bool               `koanf:"fail_fast" doc:"end at the start when a target cannot be loaded; false: serve the others"`
	MaxSessions int                `koanf:"max_sessions" doc:"connected sessions, per target"`
	RunAhead    runAhead           `koanf:"run_ahead" doc:"target passes per token at most for sessions that do not ask: on, off (also: deferred) or a number up to 1"`
	Draft       string             `koanf:"draft" doc:"what the cloud itself proposes where edges leave room: off, or lookup (what came after the same tokens before, in the session's own text)"`
	Pace        float64            `koanf:"pace" doc:"a session that got fewer tokens a second than this is served first"`
	Weights     map[string]float64 `koanf:"weights" doc:"shares of tenants, by name, where steps have no place for all; 1 unless set"`
	Drain       time.Duration      `koanf:"drain" doc:"how long sessions may go on after SIGTERM"`
	IdleTTL     time.Duration      `koanf:"idle_ttl" doc:"how long a session whose link broke keeps its KV rows"`
	Prefixes    int                `koanf:"prefixes" doc:"finished sessions, per target, of which log and KV rows are kept for the next turn; 0: none"`
	PrefixTTL   time.Duration      `koanf:"prefix_ttl" doc:"how long they are kept"`

	Tenants  map[string]TenantConfig `koanf:"tenants" doc:"bounds of tenants (below), by name; default: of each tenant that is not named (security.md)"`
	TLS      CloudTLS                `koanf:"tls"`
	Tokens   string                  `koanf:"tokens" doc:"file of tokens, hashed, that edges without a certificate come in with: outrider keys add TENANT/EDGE --file FILE"`
	Insecure bool                    `koanf:"insecure" doc:"serve other machines without TLS or to everybody: for networks that are trusted"`
	Audit    string                  `koanf:"audit" doc:"file that says who used what and who was refused, one JSON object a line, without content; empty: none"`
}

// EdgeConfig configures `outrider edge`.
type EdgeConfig struct {
	Listen        string        `koanf:"listen" doc:"gRPC address, for programs on this device"`
	Admin         string        `koanf:"admin" doc:"HTTP address of /metrics, /healthz and /readyz; empty: none"`
	HTTP          string        `koanf:"http" doc:"HTTP address of the OpenAI API and the page; empty: none"`
	Keys          string        `koanf:"keys" doc:"file of API keys, hashed, that outrider keys makes; other machines need one; empty: no key is asked for"`
	Origins       []string      `koanf:"origins" doc:"origins of web pages that may call the API, such as https://chat.example.org, or *; empty: the edge's own page only"`
	Drain         time.Duration `koanf:"drain" doc:"how long answers under way may go on after SIGTERM"`
	Cloud         string        `koanf:"cloud" doc:"address of the cloud, host:port; several replicas with commas between: the edge keeps to one and goes on with another when that drains, is full or gone" live:"yes"`
	Model         string        `koanf:"model" doc:"name of the target; empty: the pair's, or the cloud's default" live:"yes"`
	TLS           EdgeTLS       `koanf:"tls"`
	TokenFile     string        `koanf:"token_file" doc:"file of the token for the cloud, where no certificate says who this is; empty: the environment's OUTRIDER_EDGE_TOKEN, if set"`
	Insecure      bool          `koanf:"insecure" doc:"serve other machines without keys, and send to a cloud without TLS: for networks that are trusted"`
	Tenant        string        `koanf:"tenant" doc:"whose sessions these are, where neither certificate nor token says so (cloud.weights)"`
	Draft         ModelConfig   `koanf:"draft" doc:"the draft, a name or a model (below), or none; empty: that of the pair with this target, or the embedded one" live:"yes"`
	Mode          string        `koanf:"mode" doc:"where requests that ask for nothing else may be answered: cooperative, auto, prefer_on_device, only_on_device, prefer_in_cloud or only_in_cloud (routing.md)" live:"yes"`
	Router        RouterConfig  `koanf:"router"`
	Privacy       PrivacyConfig `koanf:"privacy"`
	Totals        string        `koanf:"totals" doc:"file that keeps what outrider stats tells across restarts; empty: it begins anew with the edge"`
	Fallback      string        `koanf:"fallback" doc:"with no cloud in reach: fail, wait or draft (the draft alone answers, unverified)" live:"yes"`
	FallbackAfter time.Duration `koanf:"fallback_after" doc:"how long the cloud may be out of reach before that" live:"yes"`
	RunAhead      runAhead      `koanf:"run_ahead" doc:"target passes per token at most: on, off (also: deferred), a number up to 1, or default: the cloud's setting" live:"yes"`
	Depth         int           `koanf:"depth" doc:"tokens drafted beyond the committed text; 0: adaptive, -1: never draft" live:"yes"`
	Uplink        string        `koanf:"uplink" doc:"fast, or thrifty: a third to a half of the bytes to the cloud for at most 5 % more time (tuning.md)" live:"yes"`
	Branches      bool          `koanf:"branches" doc:"also propose the draft's second choices" live:"yes"`
	Translate     string        `koanf:"translate" doc:"a draft whose tokens are not the target's: auto, it drafts text that is put into the target's tokens; off, it is refused" live:"yes"`
	Rule          string        `koanf:"rule" doc:"when a drafted token is accepted, for requests that say nothing: coupled, rejection, lenient, lenient:threshold=0.3, lenient:top_k=3 or lenient:typical=0.09/0.3 (tuning.md)" live:"yes"`
	Objective     string        `koanf:"objective" doc:"what speculation is to save, for requests that say nothing: latency, cost (passes of the target), energy (drafted tokens) or balanced (tuning.md)" live:"yes"`
	Suffix        string        `koanf:"suffix" doc:"file that keeps answers, per user, to propose what they said (tuning.md); empty: none are kept"`
	Lookup        string        `koanf:"lookup" doc:"proposals from what the text repeats and from a request's prediction: auto, beside a draft and for predictions; always, also without a draft; off" live:"yes"`
	Cache         string        `koanf:"cache" doc:"folder that keeps targets' tokenizers; empty: in the user's cache, none: none" live:"yes"`
	Conversations int           `koanf:"conversations" doc:"finished generations that are remembered for the next turn; 0: none" live:"yes"`
}

// LogConfig configures logging to standard error.
type LogConfig struct {
	Level   string `koanf:"level" doc:"debug, info, warn or error" live:"yes"`
	Format  string `koanf:"format" doc:"text or json"`
	Prompts bool   `koanf:"prompts" doc:"also log what people ask and are told; false: no such text is logged" live:"yes"`
}

// TelemetryConfig configures traces.
type TelemetryConfig struct {
	OTLP   string  `koanf:"otlp" doc:"where traces go, host:port or URL of an OpenTelemetry collector's gRPC port; empty: OTEL_EXPORTER_OTLP_ENDPOINT if set, else none are made"`
	Sample float64 `koanf:"sample" doc:"share of the traces that are kept, 0 to 1"`
}

// ModelsConfig says where models are kept and what they are called.
type ModelsConfig struct {
	Dir   string                 `koanf:"dir" doc:"folder of pulled models; empty: outrider/models in the user's data folder" live:"yes"`
	Named map[string]ModelConfig `koanf:",remain" doc:"a model (below) under a name of your own" live:"yes"`
}

// PairConfig names a target and the draft that works for it.
type PairConfig struct {
	Target string `koanf:"target" doc:"name of the target"`
	Draft  string `koanf:"draft" doc:"name of the draft, or none"`
}

// ModelConfig says which model to run and how. A name alone stands for a model, too.
type ModelConfig struct {
	Name      string            `koanf:"name" doc:"how edges ask for it; empty: its name in models, or the file's name without .gguf"`
	Model     string            `koanf:"model" doc:"a name in models, a GGUF file, a name that outrider models list shows (models.md), or an embedded model: outrider-demo-target, outrider-demo-draft; for vllm and sglang the server's address"`
	Engine    string            `koanf:"engine" doc:"reference (default), llamacpp, vllm, sglang, mock, or the path of a plugin binary (engines.md)"`
	Args      []string          `koanf:"args" doc:"of the plugin binary"`
	Env       []string          `koanf:"env" doc:"KEY=VALUE for the plugin, which inherits nothing else"`
	SHA256    string            `koanf:"sha256" doc:"of the plugin binary, checked before it runs"`
	Dir       string            `koanf:"dir" doc:"working folder of the plugin; empty: that of outrider"`
	User      string            `koanf:"user" doc:"name or number of the user that the plugin runs as, where outrider runs as root (Unix); empty: outrider's"`
	Options   map[string]string `koanf:"options" doc:"of the engine, by name; values are text"`
	Pace      string            `koanf:"pace" doc:"emulated cost of a step and of a row, such as 40ms+0.3ms; for demonstrations"`
	Tokenizer string            `koanf:"tokenizer" doc:"GGUF file that holds the vocabulary, when the model file does not. For the draft: use this tokenizer and do not ask the cloud for the target's"`
}

// Default addresses.
const (
	cloudAddr      = "127.0.0.1:7600"
	cloudAdminAddr = "127.0.0.1:7601"
	edgeAddr       = "127.0.0.1:7700"
	edgeAdminAddr  = "127.0.0.1:7701"
	edgeHTTPAddr   = "127.0.0.1:7780"
)

func defaultConfig() Config {
	return Config{
		Cloud: CloudConfig{Listen: cloudAddr, Admin: cloudAdminAddr, FailFast: true, MaxSessions: 4096, RunAhead: 1, Draft: "off", Pace: 8,
			Drain: 20 * time.Second, IdleTTL: time.Minute, Prefixes: 1024, PrefixTTL: 10 * time.Minute},
		Edge: EdgeConfig{Listen: edgeAddr, Admin: edgeAdminAddr, HTTP: edgeHTTPAddr, Drain: 3 * time.Second, Cloud: cloudAddr, Mode: "cooperative", Privacy: PrivacyConfig{Action: "off"}, Fallback: "wait",
			FallbackAfter: 3 * time.Second, Branches: true, Uplink: "fast", Translate: "auto", Rule: "coupled", Objective: "latency", Lookup: "auto", Conversations: 64},
		Log:       LogConfig{Level: "info", Format: "text"},
		Telemetry: TelemetryConfig{Sample: 1},
	}
}
