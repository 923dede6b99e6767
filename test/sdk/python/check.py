"""Runs the official OpenAI SDK for Python against an edge: one line per feature, "ok NAME" or "FAIL NAME why".

OUTRIDER_URL: of the API, with /v1; OUTRIDER_FLAKY: the same behind a proxy that refuses the first two
requests; OUTRIDER_KEY: a key that the edge takes.
"""

import json
import os
import time
import urllib.request
from typing import Literal

import openai
from openai import OpenAI
from pydantic import BaseModel

URL, KEY, FLAKY = os.environ["OUTRIDER_URL"], os.environ["OUTRIDER_KEY"], os.environ["OUTRIDER_FLAKY"]
client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
MODEL = client.models.list().data[0].id
ASK = [{"role": "user", "content": "Tell me a story about a dog."}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "The weather in a city.", "parameters": WEATHER, "strict": True}
TOOLS = {
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "max_tokens": 200,
    "temperature": 0,
}


def chat(**more):
    return client.chat.completions.create(**{"model": MODEL, "messages": ASK, "max_tokens": 16, "temperature": 0, **more})


def raises(kind, status, code, call):
    try:
        call()
    except kind as e:
        assert e.status_code == status and e.code == code, f"{e.status_code} {e.code}: {e}"
        return
    raise AssertionError(f"no {kind.__name__}")


def models():
    assert client.models.retrieve(MODEL).id == MODEL


def whole():
    r = chat()
    assert r.choices[0].message.content and r.choices[0].finish_reason in ("stop", "length"), r
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens, r.usage


def streaming():
    text, usage = "", None
    for chunk in chat(stream=True, stream_options={"include_usage": True}):
        for c in chunk.choices:
            text += c.delta.content or ""
        usage = chunk.usage or usage
    assert text == chat().choices[0].message.content, text
    assert usage.completion_tokens > 0, usage


def parameters():
    a, b = (chat(temperature=1, seed=7, n=2).choices for _ in range(2))
    assert [c.index for c in a] == [0, 1] and [c.message.content for c in a] == [c.message.content for c in b]
    stop = chat(max_tokens=40).choices[0].message.content.split()[3]
    r = chat(max_tokens=40, stop=[stop]).choices[0]
    assert r.finish_reason == "stop" and stop not in r.message.content, r
    probs = chat(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert all(p.logprob <= 0 and len(p.top_logprobs) == 2 and p.token == p.top_logprobs[0].token for p in probs), probs


def tools():
    r = chat(**TOOLS).choices[0]
    call = r.message.tool_calls[0]
    assert r.finish_reason == "tool_calls" and call.function.name == "weather", r
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome"), call
    answer = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    assert chat(messages=[*ASK, r.message, answer], tools=TOOLS["tools"]).choices[0].finish_reason


def streamed_tools():
    names, arguments, finish = "", "", ""
    for chunk in chat(stream=True, **TOOLS):
        for c in chunk.choices:
            for k in c.delta.tool_calls or []:
                names += k.function.name or ""
                arguments += k.function.arguments or ""
            finish = c.finish_reason or finish
    assert names == "weather" and finish == "tool_calls", (names, finish)
    assert json.loads(arguments)["city"] in ("Paris", "Rome"), arguments


class Pet(BaseModel):
    kind: Literal["cat", "dog"]
    hungry: bool


def structured():
    r = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Pet, max_tokens=200, temperature=0)
    assert isinstance(r.choices[0].message.parsed, Pet), r


def responses():
    r = client.responses.create(model=MODEL, input="Tell me a story about a dog.", max_output_tokens=16, temperature=0)
    assert r.output_text and r.usage.output_tokens > 0, r
    text, last = "", None
    for e in client.responses.create(model=MODEL, input="Tell me a story about a dog.", max_output_tokens=16, temperature=0, stream=True):
        if e.type == "response.output_text.delta":
            text += e.delta
        last = e
    assert text == r.output_text and last.type in ("response.completed", "response.incomplete"), (text, last)
    tool = {"type": "function", **FUNCTION}
    choice = {"type": "function", "name": "weather"}
    r = client.responses.create(model=MODEL, input="Paris?", tools=[tool], tool_choice=choice, max_output_tokens=200, temperature=0)
    assert json.loads(r.output[0].arguments)["city"] in ("Paris", "Rome"), r
    r = client.responses.parse(model=MODEL, input="A pet.", text_format=Pet, max_output_tokens=200, temperature=0)
    assert isinstance(r.output_parsed, Pet), r


def errors():
    raises(openai.BadRequestError, 400, "invalid_value", lambda: chat(temperature=-1))
    raises(openai.NotFoundError, 404, "model_not_found", lambda: chat(model="nobody"))
    wrong = OpenAI(base_url=URL, api_key="wrong", max_retries=0)
    raises(openai.AuthenticationError, 401, "invalid_api_key", wrong.models.list)


def flaky(case, retries):
    return OpenAI(base_url=FLAKY, api_key=KEY, max_retries=retries, default_headers={"X-Case": "python-" + case})


def retries():
    began = time.monotonic()
    assert flaky("retried", 2).models.list().data[0].id == MODEL
    assert time.monotonic() - began > 1.9, "Retry-After was not obeyed"
    raises(openai.RateLimitError, 429, "rate_limit_exceeded", flaky("given-up", 0).models.list)


def active():
    ask = urllib.request.Request(URL.removesuffix("/v1") + "/metrics", headers={"Authorization": "Bearer " + KEY})
    with urllib.request.urlopen(ask) as r:
        for line in r.read().decode().splitlines():
            if line.startswith("outrider_edge_active_requests "):
                return int(line.split()[1])
    raise AssertionError("no outrider_edge_active_requests")


def cancellation():
    stream = chat(stream=True, max_tokens=400, extra_body={"outrider": {"ignore_end": True}})
    next(stream)
    assert active() == 1, "the generation is not under way"
    stream.close()
    deadline = time.monotonic() + 1
    while active() != 0:
        assert time.monotonic() < deadline, "the generation goes on"
        time.sleep(0.02)


failed = False
for f in (models, whole, streaming, parameters, tools, streamed_tools, structured, responses, errors, retries, cancellation):
    name = f.__name__
    try:
        f()
        print("ok", name, flush=True)
    except Exception as e:
        failed = True
        print("FAIL", name, type(e).__name__, " ".join(str(e).split()), flush=True)
raise SystemExit(failed)
