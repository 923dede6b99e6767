// Microphone, images and reading aloud, by the edge's perception. Where that is off the buttons say why.
import { $ } from "./dom.js";
import { t } from "./i18n.js";

const MAX_IMAGE = 15 << 20; // bytes
const MAX_RECORDING = 120000; // ms

// wav makes a 16-bit mono WAV file of float samples.
export function wav(parts, rate) {
  const n = parts.reduce((sum, p) => sum + p.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * n));
  const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * n, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * n, true);
  let at = 44;
  for (const p of parts) for (const v of p) { view.setInt16(at, Math.max(-1, Math.min(1, v)) * 32767, true); at += 2; }
  return view.buffer;
}

export class Senses {
  // on: {said(text), toast(text)}
  constructor(client, on) {
    Object.assign(this, { client, on, image: null, recording: null, playing: null });
    $("#mic").addEventListener("click", () => this.#mic());
    $("#attach").addEventListener("click", () => $("#file").click());
    $("#file").addEventListener("change", (e) => { this.#attach(e.target.files[0]); e.target.value = ""; });
    $("#attached-drop").addEventListener("click", () => this.take());
    const zone = $("#main");
    zone.addEventListener("dragover", (e) => { if ([...e.dataTransfer.types].includes("Files")) e.preventDefault(); });
    zone.addEventListener("drop", (e) => {
      if (!e.dataTransfer.files.length) return;
      e.preventDefault();
      if (this.can?.reads) this.#attach(e.dataTransfer.files[0]); else this.on.toast(this.#why());
    });
    $("#prompt").addEventListener("paste", (e) => {
      const file = [...e.clipboardData.files].find((f) => f.type.startsWith("image/"));
      if (file && this.can?.reads) { e.preventDefault(); this.#attach(file); }
    });
    this.set(null);
  }

  // set takes what the edge's perception can do; its buttons follow.
  set(can) {
    this.can = can;
    const draw = (el, able, label) => {
      const text = able ? t(label) : this.#why();
      el.disabled = !able;
      el.title = text;
      el.setAttribute("aria-label", able ? text : `${t(label)}. ${text}`);
    };
    draw($("#mic"), can?.transcribes && !this.waiting, this.recording ? "recording" : this.waiting ? "recognising" : "record");
    draw($("#attach"), can?.reads, "attach");
  }

  #why() { return this.waiting ? t("recognising") : t("sensesOff", { why: this.can?.missing?.[0] ?? "perception.engine" }); }

  // take returns the attached image and forgets it.
  take() {
    const image = this.image;
    this.image = null;
    $("#attached").hidden = true;
    return image;
  }

  #attach(file) {
    if (!file || !/^image\/(png|jpeg|gif)$/.test(file.type) || file.size > MAX_IMAGE) return void this.on.toast(t("badImage"));
    const reader = new FileReader();
    reader.onload = () => {
      this.image = { image: reader.result, imageName: file.name };
      $("#attached-name").textContent = file.name;
      $("#attached").hidden = false;
    };
    reader.readAsDataURL(file);
  }

  async #mic() {
    if (this.recording) return void this.recording.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
      this.#record(stream);
    } catch (e) {
      this.on.toast(t("noMic", { why: String(e.message ?? e) }));
    }
  }

  #record(stream) {
    const context = new AudioContext({ sampleRate: 16000 });
    const parts = [], node = context.createScriptProcessor(4096, 1, 1);
    node.onaudioprocess = (e) => parts.push(new Float32Array(e.inputBuffer.getChannelData(0)));
    context.createMediaStreamSource(stream).connect(node);
    node.connect(context.destination); // which hears silence: nothing is written to the output
    const stop = () => {
      clearTimeout(timer);
      this.recording = null;
      $("#mic").setAttribute("aria-pressed", false);
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      this.#recognise(new Blob([wav(parts, context.sampleRate)], { type: "audio/wav" }));
    };
    const timer = setTimeout(stop, MAX_RECORDING);
    this.recording = { stop };
    $("#mic").setAttribute("aria-pressed", true);
    this.set(this.can);
  }

  async #recognise(blob) {
    this.waiting = true;
    this.set(this.can);
    try {
      const text = await this.client.transcribe(blob);
      if (text.trim()) this.on.said(text.trim()); else this.on.toast(t("nothingHeard"));
    } catch (e) {
      this.on.toast(String(e.message ?? e));
    } finally {
      this.waiting = false;
      this.set(this.can);
    }
  }

  // aloud reads a text, or stops reading.
  async aloud(text) {
    if (this.playing) return void this.playing.abort();
    const stop = this.playing = new AbortController();
    const context = new AudioContext();
    try {
      for (const piece of pieces(text)) {
        const buffer = await context.decodeAudioData(await this.client.speak(piece, stop.signal));
        if (stop.signal.aborted) break;
        await new Promise((ended) => {
          const source = context.createBufferSource();
          source.buffer = buffer;
          source.connect(context.destination);
          source.onended = ended;
          stop.signal.addEventListener("abort", () => source.stop());
          source.start();
        });
        if (stop.signal.aborted) break;
      }
    } catch (e) {
      if (!stop.signal.aborted) this.on.toast(String(e.message ?? e));
    } finally {
      this.playing = null;
      context.close();
    }
  }
}

// pieces cuts a text at the ends of sentences, without the marks of Markdown.
export function pieces(text) {
  const plain = text.replace(/```[\s\S]*?```/g, " ").replace(/[*_`#>|]+/g, " ");
  return (plain.match(/[^.!?。！？\n]{1,400}[.!?。！？]*/g) ?? []).map((s) => s.trim()).filter((s) => /[\p{L}\p{N}]/u.test(s));
}
