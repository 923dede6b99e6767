"""Renders chat templates as Hugging Face does. Reads a JSON list of jobs {template, messages, tools,
add_generation_prompt, bos_token, eos_token, now} on stdin, writes a list of {text} or {error}."""
import datetime
import json
import sys

try:
    from transformers.utils import chat_template_utils
    from transformers.utils.chat_template_utils import render_jinja_template
except ImportError as e:
    print("absent:", e, file=sys.stderr)
    sys.exit(3)



class Clock(datetime.datetime):
    """The time that templates are told."""
    at = None

    @classmethod
    def now(cls, tz=None):
        return cls.at


chat_template_utils.datetime = Clock
out = []
for job in json.load(sys.stdin):
    Clock.at = datetime.datetime.fromisoformat(job["now"])
    try:
        rendered, _ = render_jinja_template(
            conversations=[job["messages"]], tools=job.get("tools"), chat_template=job["template"],
            add_generation_prompt=job["add_generation_prompt"], bos_token=job["bos_token"], eos_token=job["eos_token"],
            **job.get("variables", {}))
        out.append({"text": rendered[0]})
    except Exception as e:  # a template may raise anything
        out.append({"error": f"{type(e).__name__}: {e}"})
json.dump(out, sys.stdout)
