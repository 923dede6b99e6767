// Conversations as files.
import { download } from "./dom.js";

const plainTokens = (k) => k && { ids: [...k.ids], fates: [...k.fates], lens: [...k.lens], at: [...k.at] };

function fileName(title) {
  const name = title.replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 60);
  return name || "conversation";
}

// exportConversations hands out everything that is kept of conversations, as JSON.
export function exportConversations(list) {
  const data = { outrider: 1, exported: new Date().toISOString(),
    conversations: list.map(({ conversation, messages }) => ({ ...conversation, messages: messages.map((m) => ({ ...m, tokens: plainTokens(m.tokens) })) })) };
  const title = list.length === 1 ? fileName(list[0].conversation.title) : "outrider-conversations";
  download(`${title}.json`, "application/json", JSON.stringify(data, null, 1));
}
