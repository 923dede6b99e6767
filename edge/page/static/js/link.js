// Watches the edge and its cloud, and says what is wrong and what happens now.
import { t, number } from "./i18n.js";
import { h } from "./dom.js";

const CALM = 15000; // between looks while all is well, ms
const TROUBLE = 2000;

export class Link {
  // on: {changed(status), unauthorized()}; trouble(status) is told to the banner.
  constructor(client, { text, dot, banner }, on) {
    Object.assign(this, { client, text, dot, banner, on });
    this.state = "connecting"; // fine, cloud (lost), edge (lost), key (wanted)
    this.status = null;
    this.stream = ""; // what the answer under way says: "", link, alone
    this.timer = 0;
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    addEventListener("online", () => this.look());
  }

  // look asks now, and goes on asking.
  async look() {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    let state, status = this.status;
    try {
      status = await this.client.status();
      state = status.targets?.length ? "fine" : "cloud";
    } catch (e) {
      state = e.status === 401 ? "key" : "edge";
    }
    if (turn !== this.turn) return;
    this.#set(state, status);
    this.timer = setTimeout(() => this.look(), state === "fine" ? (document.hidden ? 4 * CALM : CALM) : TROUBLE);
  }

  #set(state, status) {
    const was = this.state;
    this.state = state;
    this.status = status;
    if (state === "key" && was !== "key") this.on.unauthorized();
    this.draw();
    if (state === "fine" && (was === "cloud" || was === "edge")) this.#flash(t("bannerBack"));
    this.on.changed(status, state);
  }

  // hear takes the progress of an answer under way, null when there is none.
  hear(p) {
    const stream = !p ? "" : p.alone ? "alone" : !p.linked && p.where !== "device" && p.at_ms > 1500 ? "link" : "";
    if (stream === this.stream) return;
    const was = this.stream;
    this.stream = stream;
    if (stream || was) this.look();
    this.draw();
  }

  draw() {
    const s = this.status, fine = this.state === "fine";
    this.dot.dataset.state = this.state;
    const rtt = number(s?.rtt_ms ?? 0), target = s?.model || s?.targets?.[0]?.name || "";
    this.text.textContent = fine ? t("linkFine", { target, rtt }) : t({ cloud: "noCloud", edge: "noEdge", key: "err401" }[this.state] ?? "connecting");
    this.dot.title = fine ? t("linkFineLong", { target, rtt, draft: s.draft || t("none") }) : this.text.textContent;
    this.#banner();
  }

  #banner() {
    let lines = [], kind = "warn";
    if (this.state === "edge") {
      lines = [t("bannerEdge", { host: location.host })];
      kind = "bad";
    } else if (this.state === "cloud") {
      const policy = { wait: "bannerCloudWait", draft: "bannerCloudDraft", fail: "bannerCloudFail" }[this.on.fallback(this.status)];
      lines = [t("bannerCloud"), this.stream === "alone" ? t("bannerAlone") : policy ? t(policy) : t("bannerCloudFail")];
    } else if (this.stream) {
      lines = [t(this.stream === "link" ? "bannerLink" : "bannerAlone")];
    } else if (this.state === "fine" && this.status?.note) {
      lines = [t("bannerNote", { note: this.status.note })];
      kind = "info";
    }
    clearTimeout(this.fading);
    this.#show(lines, kind);
  }

  #show(lines, kind) {
    const text = lines.join(" ");
    if (this.banner.textContent === text && !this.banner.hidden) return;
    this.banner.hidden = text === "";
    this.banner.dataset.kind = kind;
    this.banner.replaceChildren(h("p", {}, text));
  }

  #flash(text) {
    this.#show([text], "good");
    this.fading = setTimeout(() => this.#banner(), 4000);
  }
}
