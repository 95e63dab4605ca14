// What the browser keeps: conversations and settings. Nothing of it leaves the machine but as requests.

const LIST = "llamacpp.chats", SETTINGS = "llamacpp.settings", ONE = "llamacpp.chat.";

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps a value; says whether there was room for it. */
function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export const settings = read(SETTINGS, {});
export const saveSettings = () => write(SETTINGS, settings);

/** The conversations, newest first: [{id, title}]. */
export const chats = () => read(LIST, []);

export const newChat = () => ({ id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, title: "", messages: [] });

export const loadChat = (id) => read(ONE + id, null);

/** Keeps a conversation and puts it first in the list; false where the browser has no room. */
export function saveChat(chat) {
  const rest = chats().filter((other) => other.id !== chat.id);
  return write(ONE + chat.id, chat) && write(LIST, [{ id: chat.id, title: chat.title }, ...rest]);
}

export function removeChat(id) {
  localStorage.removeItem(ONE + id);
  write(LIST, chats().filter((other) => other.id !== id));
}

/** A conversation as a Markdown text. */
export function asMarkdown(chat) {
  const parts = [`# ${chat.title}`];
  for (const message of chat.messages) {
    parts.push(`## ${{ user: "You", assistant: "Model", tool: `Result of ${message.name}` }[message.role]}`);
    for (const file of message.files ?? []) parts.push(`File ${file.name}:`, fence(file.text));
    if (message.reasoning) parts.push(`> ${message.reasoning.trim().replaceAll("\n", "\n> ")}`);
    if (message.content) parts.push(message.content);
    for (const call of message.calls ?? []) parts.push(`Call of ${call.name}:`, fence(call.arguments));
  }
  return parts.join("\n\n") + "\n";
}

/** A text between fences that are longer than any inside it. */
export function fence(text) {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((found) => found[0].length));
  const mark = "`".repeat(longest + 1);
  return `${mark}\n${text.replace(/\n$/, "")}\n${mark}`;
}
