// Messages as the page shows them.

import { copyText, el, markdown, pretty } from "./text.js";

const WHO = { user: "You", assistant: "Model", tool: "Result" };

function action(label, run) {
  return el("button", { type: "button", class: "plain", onclick: run }, label);
}

/** What a message says of its making: tokens, speed, time to the first token, a cut. */
export function statistics(message) {
  const parts = [];
  if (message.usage) parts.push(`${message.usage.completion_tokens} tokens`);
  if (message.speed) parts.push(`${message.speed.toFixed(1)} tokens/s`);
  if (message.first !== undefined) parts.push(`first after ${message.first.toFixed(2)} s`);
  if (message.finish === "length") parts.push("cut off at the limit of tokens");
  if (message.stopped) parts.push("stopped");
  return parts.join(" · ");
}

function reasoning(message, running) {
  if (!message.reasoning) return null;
  const label = running && !message.content ? "Thinking…" : "Reasoning";
  return el("details", { class: "reasoning" }, el("summary", {}, label), el("div", {}, message.reasoning));
}

function file({ name, text }) {
  return el("details", { class: "file" }, el("summary", {}, `${name}, ${text.length} characters`), el("pre", { tabindex: "0" }, text));
}

function callCard(call, position, answers) {
  const shown = pretty(call.arguments || "{}") ?? call.arguments;
  const card = el("section", { class: "call", "aria-label": `Call of ${call.name}` }, el("h3", {}, `Calls ${call.name}`), el("pre", { tabindex: "0" }, shown));
  if (answers) card.append(el("label", {}, "Result", el("textarea", { rows: "2", "data-result": position })));
  return card;
}

function body(message, json) {
  if (message.role === "user") return [...(message.files ?? []).map(file), message.content];
  if (message.role === "tool") return [el("pre", { tabindex: "0" }, message.content)];
  const whole = json && pretty(message.content);
  return whole ? [el("pre", { tabindex: "0", "aria-label": "JSON" }, whole)] : markdown(message.content);
}

/** The node of a message. `acts` are its actions; those that are missing are not shown. */
export function messageNode(message, acts) {
  const { running, json } = acts;
  const who = message.role === "tool" ? `Result of ${message.name}` : WHO[message.role];
  const text = el("div", { class: running && !message.content && !message.calls?.length ? "body waiting" : "body" }, ...body(message, json && !running));
  const calls = (message.calls ?? []).map((call, i) => callCard(call, i, acts.answerCalls));
  const node = el("article", { class: message.role, "aria-label": who }, el("div", { class: "who" }, who), reasoning(message, running), text, ...calls);
  if (message.error) node.append(el("p", { class: "problem" }, message.error));
  const bar = el("div", { class: "actions" });
  if (acts.answerCalls) {
    const send = action("Send results", () => acts.answerCalls([...node.querySelectorAll("[data-result]")].map((area) => area.value)));
    send.className = "primary small";
    bar.append(send);
  }
  if (!running && message.content) bar.append(action("Copy", () => copyText(message.content)));
  if (acts.edit) bar.append(action("Edit", () => acts.edit(node)));
  if (acts.retry) bar.append(action("Try again", acts.retry));
  bar.append(el("span", { class: "quiet" }, message.role === "assistant" ? statistics(message) : ""));
  node.append(bar);
  return node;
}

/** Puts a field in place of a message's text; `save` gets the new text. */
export function editNode(node, text, save, cancel) {
  const area = el("textarea", { class: "edit", "aria-label": "Edit your message" });
  area.value = text;
  const keys = (event) => {
    if (event.key === "Escape") cancel();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save(area.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  area.addEventListener("keydown", keys);
  const bar = el("div", { class: "actions" }, action("Cancel", cancel), action("Send again", () => save(area.value)));
  node.querySelector(".body").replaceWith(area);
  node.querySelector(".actions").replaceWith(bar);
  area.focus();
}

export function welcome(model) {
  return el("div", { class: "welcome" }, el("h2", {}, "What would you like to know?"), el("p", {}, model ? `${model} answers on this server.` : "No model is there."));
}
