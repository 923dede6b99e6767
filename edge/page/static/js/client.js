// The edge's API, as the page uses it.
import { events } from "./sse.js";

// ApiError is an answer that is not the one asked for, or none (status 0).
export class ApiError extends Error {
  constructor(status, message, code = "", retryAfter = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds
  }
}

async function failure(response) {
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // not ours: something between answered
  }
  return new ApiError(response.status, error.message || text.slice(0, 300) || response.statusText, error.code ?? "",
    Number(response.headers.get("Retry-After")) || 0);
}

export class Client {
  // key returns the API key, "" for none.
  constructor(key) { this.key = key; }

  // transcribe returns the text of a recording, a WAV blob.
  async transcribe(blob, signal) {
    const form = new FormData();
    form.append("file", blob, "speech.wav");
    const response = await this.#post("/v1/audio/transcriptions", form, {}, signal);
    return (await response.json()).text;
  }

  // speak returns a WAV file of a text, an array buffer.
  async speak(text, signal) {
    const response = await this.#post("/v1/audio/speech", JSON.stringify({ model: "speech", voice: "", input: text, response_format: "wav" }), { "Content-Type": "application/json" }, signal);
    return response.arrayBuffer();
  }

  async #post(path, body, headers, signal) {
    let response;
    try {
      response = await fetch(path, { method: "POST", body, headers: this.#headers(headers), cache: "no-store", signal });
    } catch (e) {
      throw new ApiError(0, String(e.message ?? e));
    }
    if (!response.ok) throw await failure(response);
    return response;
  }

  #headers(more = {}) {
    const k = this.key();
    return k ? { ...more, Authorization: `Bearer ${k}` } : more;
  }

  async #get(path, timeout = 8000) {
    let response;
    try {
      response = await fetch(path, { headers: this.#headers(), cache: "no-store", signal: AbortSignal.timeout(timeout) });
    } catch (e) {
      throw new ApiError(0, String(e.message ?? e));
    }
    if (!response.ok) throw await failure(response);
    return response.json();
  }

  status() { return this.#get("/outrider/status"); }
  stats() { return this.#get("/outrider/stats"); }
  async models() { return (await this.#get("/v1/models")).data ?? []; }

  // chat yields the chunks of an answer. A failure in its midst is thrown as an ApiError, too.
  async *chat(body, signal) {
    let response;
    try {
      response = await fetch("/v1/chat/completions", { method: "POST", signal, cache: "no-store",
        headers: this.#headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
    } catch (e) {
      if (signal.aborted) throw e;
      throw new ApiError(0, String(e.message ?? e));
    }
    if (!response.ok) throw await failure(response);
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError(-1, chunk.error.message ?? "", chunk.error.code ?? "");
        yield chunk;
      }
    } catch (e) {
      if (signal.aborted || e instanceof ApiError) throw e;
      throw new ApiError(0, String(e.message ?? e));
    }
    throw new ApiError(0, "the stream ended early");
  }
}

// bodyOf makes the request of a conversation under the settings, as far as the edge supports them.
export function bodyOf(path, s, supports) {
  const messages = path.filter((m) => m.content !== "" && !(m.role === "assistant" && m.error && !m.content))
    .map(({ role, content, image }) => ({ role, content: image ? [{ type: "text", text: content }, { type: "image_url", image_url: { url: image } }] : content }));
  if (s.system.trim()) messages.unshift({ role: "system", content: s.system.trim() });
  const outrider = { tokens: true, pending: true, progress: true };
  if (s.mode && supports.modes?.includes(s.mode)) outrider.mode = s.mode;
  if (s.acceptance && supports.acceptance?.includes(s.acceptance)) outrider.rule = s.acceptance;
  if (s.fallback && supports.fallback?.includes(s.fallback)) outrider.fallback = s.fallback;
  if (s.depth > 0 && supports.max_depth > 0) outrider.depth = Math.min(s.depth, supports.max_depth);
  const body = { messages, stream: true, stream_options: { include_usage: true }, temperature: s.temperature, outrider };
  if (s.model) body.model = s.model;
  if (s.topP < 1) body.top_p = s.topP;
  if (s.maxTokens > 0) body.max_tokens = Number(s.maxTokens);
  if (s.seed !== "") body.seed = Number(s.seed);
  return body;
}
