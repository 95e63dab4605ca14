// The page: conversations, the field for messages, and one answer at a time.

import { answer, models, requestFor, toolsOf } from "./api.js";
import { connectSettings, download, theme } from "./panels.js";
import { asMarkdown, chats, loadChat, newChat, removeChat, saveChat, settings, saveSettings } from "./store.js";
import { el } from "./text.js";
import { editNode, messageNode, statistics, welcome } from "./view.js";

const $ = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 44rem)");

let chat = newChat(), known = [], files = [], running = null;

// ---- showing

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text ?? "";
}

function say(text) {
  $("status").textContent = text;
}

function actsFor(index) {
  const message = chat.messages[index], last = index === chat.messages.length - 1;
  const acts = { running: last && running !== null, json: settings.json };
  if (running) return acts;
  if (message.role === "user") acts.edit = (node) => edit(index, node);
  if (message.role === "assistant") acts.retry = () => retry(index);
  if (last && message.calls?.length) acts.answerCalls = answerCalls;
  return acts;
}

function show() {
  const nodes = chat.messages.map((message, i) => messageNode(message, actsFor(i)));
  $("messages").replaceChildren(...(nodes.length ? nodes : [welcome($("model").value)]));
  $("stop").hidden = running === null;
  $("send").hidden = running !== null;
  document.title = chat.title || "Chat";
  showContext();
  showChats();
  scroll(true);
}

function showLast() {
  const log = $("messages"), index = chat.messages.length - 1, old = log.lastElementChild;
  const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const node = messageNode(chat.messages[index], actsFor(index));
  const open = old?.querySelector?.("details.reasoning")?.open;
  if (open) node.querySelector("details.reasoning")?.setAttribute("open", "");
  old.replaceWith(node);
  showContext();
  scroll(follow);
}

function scroll(wanted) {
  if (wanted) $("messages").scrollTop = $("messages").scrollHeight;
}

function showContext() {
  const last = chat.messages.findLast((message) => message.usage), meta = known.find((model) => model.id === $("model").value)?.meta;
  const used = last?.usage.total_tokens ?? 0, size = meta?.n_ctx;
  $("context").hidden = !size;
  if (!size) return;
  const speed = running && chat.messages.at(-1).speed ? `${chat.messages.at(-1).speed.toFixed(1)} tokens/s · ` : "";
  $("context-text").textContent = `${speed}${used} of ${size} tokens`;
  $("context-bar").max = size;
  $("context-bar").value = used;
}

function showChats() {
  $("chats").replaceChildren(
    ...chats().map(({ id, title }) => {
      const open = el("button", { type: "button", title, "aria-current": id === chat.id && "true", onclick: () => openChat(id) }, title);
      const remove = el("button", { type: "button", class: "plain", "aria-label": `Delete ${title}`, onclick: () => forget(id) }, "×");
      return el("li", {}, open, remove);
    }),
  );
}

function showFiles() {
  $("files").replaceChildren(
    ...files.map((file, i) => el("li", {}, file.name, el("button", { type: "button", class: "plain", "aria-label": `Remove ${file.name}`, onclick: () => (files.splice(i, 1), showFiles()) }, "×"))),
  );
}

function showModes() {
  const modes = [];
  if (settings.json) modes.push("JSON");
  try {
    if (settings.tools?.trim()) modes.push(`${toolsOf(settings.tools).length} tools`);
  } catch {
    // The panel says what is wrong with them.
  }
  $("modes").replaceChildren(...modes.map((mode) => el("span", { class: "mode" }, mode)));
}

// ---- conversations

function keep() {
  if (!chat.messages.length) return;
  chat.title ||= (chat.messages[0].content || chat.messages[0].files?.[0]?.name || "Chat").split("\n")[0].slice(0, 60);
  if (!saveChat(chat)) problem("The browser has no room left for this conversation: export it, or delete others.");
}

function openChat(id) {
  running?.abort();
  chat = (id && loadChat(id)) || newChat();
  files = [];
  showFiles();
  problem();
  closeHistory();
  show();
  $("prompt").focus();
}

function forget(id) {
  if (!confirm("Delete this conversation?")) return;
  removeChat(id);
  if (id === chat.id) openChat();
  else showChats();
}

// ---- answers

async function generate() {
  let body;
  try {
    body = requestFor(chat, $("model").value);
  } catch (error) {
    problem(`Settings: ${error.message}`);
    return show();
  }
  problem();
  const mine = chat, control = new AbortController();
  const message = { role: "assistant", content: "", reasoning: "", calls: [] };
  chat.messages.push(message);
  running = control;
  show();
  say("The model answers.");
  let drawn = false;
  const draw = () => {
    if (drawn || mine !== chat) return;
    drawn = true;
    requestAnimationFrame(() => ((drawn = false), mine === chat && running === control && showLast()));
  };
  try {
    await answer(body, message, control.signal, draw);
    say(`The answer is complete. ${statistics(message)}`);
  } catch (error) {
    if (control.signal.aborted) message.stopped = true;
    else message.error = error.message;
    say(control.signal.aborted ? "Stopped." : `Error: ${error.message}`);
    if (error.status === 401) openSettings(true, "key");
  }
  if (running === control) running = null;
  if (mine === chat) {
    keep();
    show();
  } else if (loadChat(mine.id)) saveChat(mine);
  await loadModels();
}

function send() {
  const text = $("prompt").value.trim();
  if (running || (!text && !files.length)) return;
  chat.messages.push({ role: "user", content: text, files });
  files = [];
  $("prompt").value = "";
  grow();
  showFiles();
  keep();
  generate();
}

function edit(index, node) {
  const old = chat.messages[index];
  const save = (text) => {
    chat.messages.splice(index, Infinity, { ...old, content: text.trim() });
    keep();
    generate();
  };
  editNode(node, old.content, save, show);
}

function retry(index) {
  if (running) return;
  chat.messages.splice(index);
  generate();
}

function answerCalls(results) {
  const { calls } = chat.messages.at(-1);
  calls.forEach((call, i) => chat.messages.push({ role: "tool", id: call.id, name: call.name, content: results[i] }));
  keep();
  generate();
}

// ---- the field

function grow() {
  $("prompt").style.height = "auto";
  $("prompt").style.height = `${$("prompt").scrollHeight + 2}px`;
}

async function attach(list) {
  for (const file of list) {
    const text = await file.text();
    if (text.includes("\0") || text.includes("\ufffd")) problem(`${file.name} is no text.`);
    else files.push({ name: file.name, text });
  }
  showFiles();
  $("prompt").focus();
}

// ---- panels and keys

function openSettings(open, field = "system") {
  $("settings").hidden = !open;
  $("open-settings").setAttribute("aria-expanded", open);
  (open ? $(field) : $("open-settings")).focus();
}

function closeHistory() {
  $("history").classList.remove("open");
  $("open-history").setAttribute("aria-expanded", "false");
}

function openHistory() {
  $("history").classList.add("open");
  $("open-history").setAttribute("aria-expanded", "true");
  $("new-chat").focus();
}

async function loadModels() {
  try {
    known = await models();
  } catch (error) {
    problem(error.status === 401 ? "This server needs an API key: give it in the settings." : `No models: ${error.message}`);
    return;
  }
  const chosen = $("model").value || settings.model;
  const able = known.filter((model) => model.meta?.capabilities?.chat !== false || !model.meta.capabilities.embedding);
  $("model").replaceChildren(...able.map(({ id }) => el("option", { selected: id === chosen }, id)));
  showContext();
  if (!chat.messages.length) show();
}

function escape() {
  if (running) running.abort();
  else if (!$("settings").hidden) openSettings(false);
  else if ($("history").classList.contains("open")) closeHistory();
  else return false;
  return true;
}

function shortcut(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") return !$("help").open && escape();
  if (event.altKey && !event.ctrlKey && !event.metaKey) {
    const last = chat.messages.length - 1;
    const keys = { KeyN: () => openChat(), KeyS: () => openSettings($("settings").hidden), KeyR: () => chat.messages[last]?.role === "assistant" && retry(last) };
    return keys[event.code] ? (keys[event.code](), true) : false;
  }
  if (typing || event.ctrlKey || event.metaKey) return false;
  if (event.key === "/") return $("prompt").focus(), true;
  if (event.key === "?") return $("help").showModal(), true;
  return false;
}

function promptKeys(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  } else if (event.key === "ArrowUp" && !$("prompt").value && !running) {
    const edits = document.querySelectorAll("article.user .actions button:nth-of-type(2)");
    if (edits.length) event.preventDefault(), edits[edits.length - 1].click();
  }
}

function connect() {
  const on = (id, event, run) => $(id).addEventListener(event, run);
  on("composer", "submit", (event) => (event.preventDefault(), send()));
  on("prompt", "input", grow);
  on("prompt", "keydown", promptKeys);
  on("stop", "click", () => running?.abort());
  on("attach", "change", (event) => attach([...event.target.files]).then(() => (event.target.value = "")));
  document.querySelector("label[for=attach]").addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), $("attach").click()));
  on("new-chat", "click", () => openChat());
  on("open-history", "click", openHistory);
  on("close-history", "click", () => (closeHistory(), $("open-history").focus()));
  on("open-settings", "click", () => openSettings($("settings").hidden));
  on("close-settings", "click", () => openSettings(false));
  on("show-help", "click", () => $("help").showModal());
  on("theme", "click", () => theme(true));
  on("model", "change", () => ((settings.model = $("model").value), saveSettings(), showContext(), chat.messages.length || show()));
  on("export", "click", (event) => {
    const kind = event.target.dataset.export;
    if (!kind) return;
    $("export").open = false;
    download(`${chat.title || "chat"}.${kind}`, kind === "md" ? asMarkdown(chat) : JSON.stringify(chat, null, 2));
  });
  addEventListener("keydown", (event) => shortcut(event) && event.preventDefault());
  addEventListener("dragover", (event) => (event.preventDefault(), document.body.classList.add("dropping")));
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => (event.preventDefault(), document.body.classList.remove("dropping"), attach([...event.dataTransfer.files])));
  connectSettings((name) => {
    showModes();
    if (name === "key") problem(), loadModels();
  });
}

theme(false);
connect();
showModes();
show();
loadModels();
if (!narrow.matches) $("prompt").focus();
