// The settings panel, the theme, and downloads.

import { toolsOf } from "./api.js";
import { saveSettings, settings } from "./store.js";
import { el } from "./text.js";

const $ = (id) => document.getElementById(id);
const CHECKS = { schema: (text) => JSON.parse(text), tools: toolsOf };

function check(name) {
  const text = $(name).value.trim();
  let wrong = "";
  try {
    if (text) CHECKS[name](text);
  } catch (error) {
    wrong = error.message;
  }
  $(name).setAttribute("aria-invalid", wrong !== "");
  $(`${name}-problem`).hidden = !wrong;
  $(`${name}-problem`).textContent = wrong;
}

/** Fills the panel from the settings and keeps what is changed there; `changed` is told its name. */
export function connectSettings(changed) {
  for (const field of document.querySelectorAll("[data-setting]")) {
    const name = field.id, box = field.type === "checkbox";
    if (settings[name] !== undefined) field[box ? "checked" : "value"] = settings[name];
    if (CHECKS[name]) check(name);
    field.addEventListener("input", () => {
      settings[name] = box ? field.checked : field.value;
      if (CHECKS[name]) check(name);
      saveSettings();
      changed(name);
    });
  }
}

const THEMES = ["system", "dark", "light"];

/** Shows the theme of the settings, or the next one. */
export function theme(next) {
  let name = settings.theme ?? "system";
  if (next) {
    name = THEMES[(THEMES.indexOf(name) + 1) % THEMES.length];
    settings.theme = name;
    saveSettings();
  }
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = `Theme: ${name}`;
}

/** Lets the browser keep a text as a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = el("a", { href: url, download: name.replace(/[^\p{L}\p{N}._ -]/gu, "_") });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(url);
}
