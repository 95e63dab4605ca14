// Talking to the server.

import { fence, settings } from "./store.js";

const SAMPLING = ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "max_tokens"];

function headers() {
  const found = { "content-type": "application/json" };
  if (settings.key) found.authorization = `Bearer ${settings.key}`;
  return found;
}

async function checked(response) {
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // No JSON: the status has to do.
  }
  throw Object.assign(new Error(message), { status: response.status });
}

/** The server's models. */
export async function models() {
  const response = await checked(await fetch("v1/models", { headers: headers() }));
  return (await response.json()).data;
}

/** A list of functions, bare or wrapped as OpenAI's API has them, as that API's tools. */
export function toolsOf(text) {
  const list = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error("must be a JSON list");
  return list.map((tool) => (tool.type === "function" && tool.function ? tool : { type: "function", function: tool }));
}

function messagesOf(chat) {
  const found = settings.system?.trim() ? [{ role: "system", content: settings.system }] : [];
  for (const { role, content, files, reasoning, calls, id, error } of chat.messages) {
    if (error && !content && !calls?.length) continue;
    if (role === "tool") found.push({ role, content, tool_call_id: id });
    else if (role === "assistant") {
      const message = { role, content: content || (calls?.length ? null : "") };
      if (reasoning) message.reasoning_content = reasoning;
      if (calls?.length) message.tool_calls = calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
      found.push(message);
    } else {
      const texts = (files ?? []).map((file) => `File ${file.name}:\n${fence(file.text)}`);
      found.push({ role, content: [...texts, content].join("\n\n") });
    }
  }
  return found;
}

/** The body of a request for the next answer. Throws where a setting is no JSON. */
export function requestFor(chat, model) {
  const body = { model, messages: messagesOf(chat), stream: true, stream_options: { include_usage: true } };
  for (const name of SAMPLING) if (settings[name] !== undefined && settings[name] !== "") body[name] = Number(settings[name]);
  if (settings.json && settings.schema?.trim()) {
    body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(settings.schema) } };
  } else if (settings.json) body.response_format = { type: "json_object" };
  if (settings.tools?.trim()) {
    body.tools = toolsOf(settings.tools);
    body.tool_choice = settings.tool_choice || "auto";
  }
  return body;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (waiting + value).split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** Adds an answer to a message as it comes; `changed` is called after each piece. */
export async function answer(body, message, signal, changed) {
  const response = await checked(await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(body), signal }));
  const began = performance.now();
  let first, pieces = 0;
  for await (const chunk of events(response)) {
    if (chunk.error) throw new Error(chunk.error.message);
    if (chunk.usage) message.usage = chunk.usage;
    if (chunk.timings?.predicted_per_second) message.speed = chunk.timings.predicted_per_second;
    const choice = chunk.choices?.[0];
    if (!choice) continue;
    const { content, reasoning_content, tool_calls } = choice.delta ?? {};
    message.content += content ?? "";
    message.reasoning += reasoning_content ?? "";
    for (const piece of tool_calls ?? []) addCall(message.calls, piece);
    if (choice.finish_reason) message.finish = choice.finish_reason;
    if (content || reasoning_content || tool_calls) {
      first ??= performance.now();
      pieces += 1;
      message.first = (first - began) / 1000;
      if (pieces > 2 && !choice.finish_reason) message.speed = (pieces - 1) / ((performance.now() - first) / 1000);
    }
    changed();
  }
}

function addCall(calls, piece) {
  const call = (calls[piece.index] ??= { id: "", name: "", arguments: "" });
  call.id = piece.id || call.id;
  call.name += piece.function?.name ?? "";
  call.arguments += piece.function?.arguments ?? "";
}
