// Server-sent events, read from a fetch body.

// Parser turns text, cut anywhere, into the data of events.
export class Parser {
  #rest = ""; // an unfinished line
  #data = []; // lines of the unfinished event
  #cr = false; // the last chunk ended in CR: a LF that follows belongs to it
  #first = true;

  // push returns the data of the events that became complete.
  push(text) {
    if (this.#first && text !== "") {
      this.#first = false;
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    }
    if (this.#cr && text.startsWith("\n")) text = text.slice(1);
    if (text !== "") this.#cr = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    const out = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) out.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line === "data") {
        this.#data.push("");
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      } // comments (heartbeats) and other fields are of no interest
    }
    return out;
  }
}

// events yields the data of each event of a fetch body.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
