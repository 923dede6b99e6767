// One answer while it is written: from chunks of the API to a message, its tokens and its figures.
import { Aligner, Tokens, steps } from "./tokens.js";
import { ApiError } from "./client.js";

const SAMPLES = 400; // points of a chart at most; beyond it every second one goes

export class Answer {
  // message is filled in place; changed is called when there is something new.
  constructor(message, changed) {
    this.message = message;
    this.changed = changed;
    this.tokens = new Tokens();
    this.aligner = new Aligner(this.tokens);
    this.pending = "";
    this.progress = null;
    this.samples = [];
    this.running = true;
    this.stop = new AbortController();
  }

  // run reads the answer to its end. It never throws: what went wrong is in the message.
  async run(client, body) {
    const m = this.message, began = performance.now();
    try {
      for await (const chunk of client.chat(body, this.stop.signal)) this.#chunk(chunk, performance.now() - began);
      m.done = true;
    } catch (e) {
      if (this.stop.signal.aborted) {
        m.done = true;
        m.finish = "stopped";
      } else {
        m.error = { status: e instanceof ApiError ? e.status : 0, code: e.code ?? "", message: String(e.message ?? e), retryAfter: e.retryAfter ?? 0 };
        m.done = true;
      }
    }
    this.running = false;
    this.pending = "";
    m.elapsed ??= performance.now() - began;
    this.keep();
    this.changed();
  }

  #chunk(c, now) {
    const m = this.message, x = c.outrider ?? {};
    if (c.model) m.model = c.model;
    const choice = c.choices?.[0];
    const at = x.progress?.at_ms ?? now;
    const content = choice?.delta?.content ?? "", reasoning = choice?.delta?.reasoning_content ?? "";
    if (reasoning) {
      m.reasoning = (m.reasoning ?? "") + reasoning;
      this.aligner.drop(reasoning, content ? [] : x.tokens ?? [], at);
    }
    if (content || (x.tokens && !reasoning)) this.aligner.push(content, x.tokens ?? [], at);
    m.content += content;
    if (choice?.finish_reason) m.finish = choice.finish_reason;
    if (x.pending !== undefined) this.pending = x.pending;
    if (x.progress) this.#sample(x.progress);
    if (c.metrics) m.metrics = c.metrics;
    if (c.usage) m.usage = c.usage;
    this.changed();
  }

  #sample(p) {
    this.progress = p;
    const last = this.samples.at(-1);
    if (last && p.tokens === last.tokens && p.depth === last.depth) return;
    this.samples.push({ at: p.at_ms, tokens: p.tokens, depth: p.depth });
    if (this.samples.length > SAMPLES) this.samples = this.samples.filter((_, i) => i % 2 === 0);
  }

  // keep puts tokens and figures into the message, as they are stored.
  keep() {
    const m = this.message;
    m.tokens = this.tokens.data();
    m.progress = this.progress;
    m.samples = this.samples;
  }

  get figures() { return figures(this.message, this.tokens, this.progress, this.samples, this.pending, this.running); }
}

// figuresOf reads the figures of a message that is complete.
export const figuresOf = (m, tokens) => figures(m, tokens, m.progress, m.samples ?? [], "", false);

function figures(m, tokens, p, samples, pending, running) {
  const o = m.metrics?.outrider, s = m.metrics?.speculative_decoding;
  const st = steps(tokens);
  const own = tokens.length ? tokens.counts.slice(1, 6).reduce((a, b) => a + b, 0) : 0;
  const count = m.usage?.completion_tokens ?? own;
  const first = o?.first_token_ms ?? tokens.at[0];
  const total = o?.total_ms ?? p?.at_ms ?? tokens.at.at(-1);
  const judged = s?.num_draft_tokens ?? st.reached.reduce((a, b) => a + b, 0);
  const accepted = s?.num_accepted_draft_tokens ?? st.held.reduce((a, b) => a + b, 0);
  const up = o?.uplink_bytes ?? p?.uplink_bytes, down = o?.downlink_bytes ?? p?.downlink_bytes;
  return {
    running, count, first, samples, pending,
    counts: tokens.counts, late: tokens.late,
    perToken: count > 1 && total > first ? (total - first) / (count - 1) : 0,
    alone: p ? p.plain_step_ms || p.step_ms || 0 : 0,
    reached: st.reached, held: st.held,
    meanLength: s?.mean_acceptance_length || st.meanLength,
    rate: judged ? accepted / judged : null,
    passes: count ? (o?.target_passes || st.passes) / count : null,
    rtt: p?.rtt_ms ?? 0, up, down, depth: p?.depth ?? 0,
    target: o?.target ?? m.model ?? "", draft: o?.draft ?? "",
    unverified: tokens.counts[5], resumes: o?.resumes ?? p?.resumes ?? 0, exact: o?.exact ?? true, routing: o?.routing ?? null,
  };
}
