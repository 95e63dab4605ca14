// Markdown to DOM nodes. Nothing is ever parsed as HTML, so an answer cannot bring any.

/** An element with attributes and children. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Puts a text on the clipboard; browsers keep their newer way for pages that came over TLS. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el("textarea", {}, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

const INLINE = /(`+)([^`]|[^`].*?[^`])\1(?!`)|\*\*(\S(?:.*?\S)?)\*\*|\*([^\s*](?:[^*]*?[^\s*])?)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/;

function inline(text) {
  const nodes = [];
  for (;;) {
    const found = INLINE.exec(text);
    if (!found) break;
    if (found.index) nodes.push(text.slice(0, found.index));
    const [whole, , code, bold, italic, label, url] = found;
    if (code !== undefined) nodes.push(el("code", {}, code.trim() || code));
    else if (bold !== undefined) nodes.push(el("strong", {}, ...inline(bold)));
    else if (italic !== undefined) nodes.push(el("em", {}, ...inline(italic)));
    else nodes.push(el("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, label));
    text = text.slice(found.index + whole.length);
  }
  if (text) nodes.push(text);
  return nodes;
}

function codeBlock(code, language) {
  const copy = el("button", { type: "button", class: "plain", onclick: () => copyText(code) }, "Copy code");
  return el("div", { class: "code" }, el("pre", { tabindex: "0", "aria-label": language ? `Code, ${language}` : "Code" }, el("code", {}, code)), copy);
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function table(lines) {
  const head = el("tr", {}, ...cells(lines[0]).map((cell) => el("th", {}, ...inline(cell))));
  const rows = lines.slice(2).map((line) => el("tr", {}, ...cells(line).map((cell) => el("td", {}, ...inline(cell)))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

const ITEM = /^\s*([-*+]|\d+[.)])\s+/;
const STARTS = [/^\s*```/, /^#{1,6}\s/, ITEM, /^>\s?/, /^\s*\|.*\|\s*$/];

/** The nodes of a text in Markdown: headings, lists, quotes, tables, code and emphasis. */
export function markdown(text) {
  const lines = text.split("\n"), nodes = [];
  const run = (test) => {
    const found = [];
    while (lines.length && test(lines[0])) found.push(lines.shift());
    return found;
  };
  while (lines.length) {
    const line = lines[0];
    if (!line.trim()) lines.shift();
    else if (STARTS[0].test(line)) {
      const language = lines.shift().trim().slice(3).trim();
      const code = run((next) => !/^\s*```\s*$/.test(next));
      lines.shift();
      nodes.push(codeBlock(code.join("\n"), language));
    } else if (STARTS[1].test(line)) {
      const level = Math.min(line.match(/^#+/)[0].length + 2, 6);
      nodes.push(el(`h${level}`, {}, ...inline(lines.shift().replace(/^#+\s/, ""))));
    } else if (ITEM.test(line)) {
      const first = Number.parseInt(line, 10);
      const items = run((next) => ITEM.test(next)).map((item) => el("li", {}, ...inline(item.replace(ITEM, ""))));
      nodes.push(Number.isNaN(first) ? el("ul", {}, ...items) : el("ol", { start: first }, ...items));
    } else if (STARTS[3].test(line)) {
      nodes.push(el("blockquote", {}, ...markdown(run((next) => STARTS[3].test(next)).map((next) => next.replace(STARTS[3], "")).join("\n"))));
    } else if (STARTS[4].test(line) && /^[\s|:-]+$/.test(lines[1] ?? "")) {
      nodes.push(table(run((next) => STARTS[4].test(next))));
    } else {
      const paragraph = [lines.shift(), ...run((next) => next.trim() && !STARTS.some((start) => start.test(next)))];
      const parts = paragraph.flatMap((part, i) => (i ? [el("br"), ...inline(part)] : inline(part)));
      nodes.push(el("p", {}, ...parts));
    }
  }
  return nodes;
}

/** A value as indented JSON, or null where a text is none. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}
