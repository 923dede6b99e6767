// Runs the official OpenAI SDK for Node against an edge: one line per feature, "ok NAME" or "FAIL NAME why".
// The environment is that of ../python/check.py.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { OUTRIDER_URL: url, OUTRIDER_KEY: key, OUTRIDER_FLAKY: flakyURL } = process.env;
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const ask = [{ role: "user", content: "Tell me a story about a dog." }];
const cities = ["Paris", "Rome"];
const weather = {
  name: "weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string", enum: cities } }, required: ["city"], additionalProperties: false },
  strict: true,
};
const withTools = {
  tools: [{ type: "function", function: weather }],
  tool_choice: { type: "function", function: { name: "weather" } },
  max_tokens: 200,
};
const Pet = z.object({ kind: z.enum(["cat", "dog"]), hungry: z.boolean() });

const chat = (more, options) =>
  client.chat.completions.create({ model, messages: ask, max_tokens: 16, temperature: 0, ...more }, options);

async function active() {
  const r = await fetch(url.replace(/\/v1$/, "/metrics"), { headers: { Authorization: `Bearer ${key}` } });
  return Number(/^outrider_edge_active_requests (\d+)/m.exec(await r.text())[1]);
}

const flaky = (name, maxRetries) =>
  new OpenAI({ baseURL: flakyURL, apiKey: key, maxRetries, defaultHeaders: { "X-Case": `node-${name}` } });

const features = {
  async models() {
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async whole() {
    const r = await chat();
    assert(r.choices[0].message.content && ["stop", "length"].includes(r.choices[0].finish_reason));
    assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
  },
  async streaming() {
    let text = "", usage;
    for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
      for (const c of chunk.choices) text += c.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, (await chat()).choices[0].message.content);
    assert(usage.completion_tokens > 0);
  },
  async parameters() {
    const two = async () => (await chat({ temperature: 1, seed: 7, n: 2 })).choices.map((c) => c.message.content);
    assert.deepEqual(await two(), await two());
    const stop = (await chat({ max_tokens: 40 })).choices[0].message.content.split(/\s+/).filter(Boolean)[3];
    const r = (await chat({ max_tokens: 40, stop: [stop] })).choices[0];
    assert(r.finish_reason === "stop" && !r.message.content.includes(stop));
    const probs = (await chat({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
    assert(probs.every((p) => p.logprob <= 0 && p.top_logprobs.length === 2 && p.token === p.top_logprobs[0].token));
  },
  async tools() {
    const { message, finish_reason } = (await chat(withTools)).choices[0];
    const call = message.tool_calls[0];
    assert(finish_reason === "tool_calls" && call.function.name === "weather");
    assert(cities.includes(JSON.parse(call.function.arguments).city));
    const answer = { role: "tool", tool_call_id: call.id, content: "Sunny." };
    assert((await chat({ messages: [...ask, message, answer], tools: withTools.tools })).choices[0].finish_reason);
  },
  async streamed_tools() {
    const runner = client.chat.completions.stream({ model, messages: ask, temperature: 0, ...withTools });
    let deltas = 0;
    runner.on("tool_calls.function.arguments.delta", () => deltas++);
    const { message, finish_reason } = (await runner.finalChatCompletion()).choices[0];
    assert(finish_reason === "tool_calls" && deltas > 1 && message.tool_calls[0].function.name === "weather");
    assert(cities.includes(JSON.parse(message.tool_calls[0].function.arguments).city));
  },
  async structured() {
    const r = await client.chat.completions.parse({
      model, messages: ask, temperature: 0, max_tokens: 200, response_format: zodResponseFormat(Pet, "pet"),
    });
    Pet.parse(r.choices[0].message.parsed);
  },
  async responses() {
    const create = (more) =>
      client.responses.create({ model, input: "Tell me a story about a dog.", max_output_tokens: 16, temperature: 0, ...more });
    const r = await create();
    assert(r.output_text && r.usage.output_tokens > 0);
    let text = "", last;
    for await (const e of await create({ stream: true })) {
      if (e.type === "response.output_text.delta") text += e.delta;
      last = e.type;
    }
    assert.equal(text, r.output_text);
    assert(["response.completed", "response.incomplete"].includes(last));
    const tools = [{ type: "function", ...weather }];
    const called = await create({ tools, tool_choice: { type: "function", name: "weather" }, max_output_tokens: 200 });
    assert(cities.includes(JSON.parse(called.output[0].arguments).city));
    const parsed = await client.responses.parse({
      model, input: "A pet.", max_output_tokens: 200, temperature: 0, text: { format: zodTextFormat(Pet, "pet") },
    });
    Pet.parse(parsed.output_parsed);
  },
  async errors() {
    await assert.rejects(chat({ temperature: -1 }), (e) => e instanceof OpenAI.BadRequestError && e.code === "invalid_value");
    await assert.rejects(chat({ model: "nobody" }), (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
    const wrong = new OpenAI({ baseURL: url, apiKey: "wrong", maxRetries: 0 });
    await assert.rejects(wrong.models.list(), (e) => e instanceof OpenAI.AuthenticationError && e.code === "invalid_api_key");
  },
  async retries() {
    const began = Date.now();
    assert.equal((await flaky("retried", 2).models.list()).data[0].id, model);
    assert(Date.now() - began > 1900, "Retry-After was not obeyed");
    await assert.rejects(flaky("given-up", 0).models.list(), (e) => e instanceof OpenAI.RateLimitError);
  },
  async cancellation() {
    const stream = await chat({ stream: true, max_tokens: 400, outrider: { ignore_end: true } });
    await stream[Symbol.asyncIterator]().next();
    assert.equal(await active(), 1, "the generation is not under way");
    stream.controller.abort();
    for (const deadline = Date.now() + 1000; (await active()) !== 0; ) assert(Date.now() < deadline, "the generation goes on");
  },
};

for (const [name, run] of Object.entries(features)) {
  try {
    await run();
    console.log("ok", name);
  } catch (e) {
    process.exitCode = 1;
    console.log("FAIL", name, String(e).replace(/\s+/g, " "));
  }
}
