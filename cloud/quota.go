package cloud

import (
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Quota bounds what one tenant may use of a cloud, of all its targets together. 0: no bound.
type Quota struct {
	Sessions        int // connected at once; an eighth more may resume
	TokensPerMinute int // prompt tokens that are run, each time anew, and committed tokens; a minute's worth may go at once
	Context         int // tokens of a prompt and its answer
}

// AnyTenant is the name in Config.Quotas of the quota of tenants that have none of their own. Each of them
// has it for itself.
const AnyTenant = "default"

// quotas are the accounts of all tenants.
type quotas struct {
	of map[string]Quota

	mu       sync.Mutex
	accounts map[string]*account
}

// account is what a tenant uses.
type account struct {
	tenant string
	Quota

	mu       sync.Mutex
	sessions int
	level    float64 // tokens that may go now; below 0: owed
	at       time.Time
}

func newQuotas(of map[string]Quota) *quotas { return &quotas{of: of, accounts: map[string]*account{}} }

// account returns a tenant's, nil when nothing bounds it.
func (q *quotas) account(tenant string) *account {
	quota, ok := q.of[tenant]
	if !ok {
		if quota, ok = q.of[AnyTenant]; !ok {
			return nil
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.accounts[tenant]
	if a == nil {
		q.sweep()
		a = &account{tenant: tenant, Quota: quota, level: float64(quota.TokensPerMinute), at: time.Now()}
		q.accounts[tenant] = a
	}
	return a
}

// maxAccounts bounds the accounts of names that anybody can think up; those in use are always kept.
const maxAccounts = 4096

func (q *quotas) sweep() {
	if len(q.accounts) < maxAccounts {
		return
	}
	for name, a := range q.accounts {
		a.mu.Lock()
		a.refill(time.Now())
		if a.sessions == 0 && a.level >= float64(a.TokensPerMinute) {
			delete(q.accounts, name)
		}
		a.mu.Unlock()
	}
}

func (a *account) refill(now time.Time) {
	rate := float64(a.TokensPerMinute) / 60
	a.level = min(float64(a.TokensPerMinute), a.level+rate*now.Sub(a.at).Seconds())
	a.at = now
}

// fits bounds a request by the context that the tenant may use.
func (a *account) fits(r *request) error {
	if a == nil || a.Context == 0 {
		return nil
	}
	if n := len(r.tokens) + r.prefix; n >= a.Context || r.setup.PromptLength >= a.Context {
		return exhausted(a.tenant, "context", 0, fmt.Sprintf("%d tokens of prompt and answer, the prompt and what follows it have %d already: shorten the prompt", a.Context, n))
	}
	r.maxLen = min(r.maxLen, a.Context)
	return nil
}

// enter takes one more session in; leave gives its place back.
func (a *account) enter(resumed bool, retry time.Duration) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := a.Sessions; limit > 0 {
		if resumed {
			limit += max(1, limit/8)
		}
		if a.sessions >= limit {
			return exhausted(a.tenant, "sessions", retry, fmt.Sprintf("%d sessions at once", a.Sessions))
		}
	}
	if err := a.spent(time.Now()); err != nil {
		return err
	}
	a.sessions++
	return nil
}

func (a *account) leave() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.sessions--
	a.mu.Unlock()
}

// charge takes tokens off the account; an error says that none are left.
func (a *account) charge(n int) error {
	if a == nil || a.TokensPerMinute == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.refill(now)
	a.level -= float64(n)
	return a.spent(now)
}

// spent says that no tokens are left, and when there will be a tenth of a minute's.
func (a *account) spent(now time.Time) error {
	if a.TokensPerMinute == 0 {
		return nil
	}
	if a.refill(now); a.level > 0 {
		return nil
	}
	all := float64(a.TokensPerMinute)
	wait := time.Duration(math.Ceil((all/10-a.level)/all*60_000)) * time.Millisecond
	return exhausted(a.tenant, "tokens_per_minute", wait, fmt.Sprintf("%d tokens a minute, prompts that are run again included", a.TokensPerMinute))
}

// exhausted names the quota; retry 0: trying again does not help.
func exhausted(tenant, quota string, retry time.Duration, what string) error {
	if tenant == "" {
		tenant = "without a name"
	}
	text, details := fmt.Sprintf("tenant %s may use %s (quota %s)", tenant, what, quota), []detail{reasonDetail("QUOTA_" + quota)}
	if retry > 0 {
		text += fmt.Sprintf(": try again in %s", max(time.Second, retry.Round(time.Second)))
		details = append(details, retryDetail(retry))
	}
	return withDetails(codes.ResourceExhausted, text, details...)
}
