/**
 * Markdown to DOM nodes: what language models write of CommonMark and GitHub's tables, without HTML.
 *
 * Text becomes text nodes only; neither innerHTML nor an attribute from the text other than a checked URL is ever set. Each function reads
 * its text once from left to right, so that an answer cannot make it slower than linear.
 *
 * @typedef {{images?: boolean | ((url: string) => boolean), open?: boolean}} RenderOptions *images*: show pictures of other hosts. A picture
 *   tells its host that the page is read, and a hostile answer can put text of the conversation into the URL; so by default they are links.
 *   *open*: more text follows.
 */

import { copyButton, el, link, patch, safeUrl } from "./elements.js";

const MAX_DEPTH = 16; // of quotes, lists and emphasis: deeper elements can crash a browser's layout

const ENTITIES = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: "\u00a0" };
const SPECIAL = /[\\`*_~[!<&\n]|https?:\/\/|$/g;
const LINK =
  /\[((?:[^[\]\\]|\\.|\[[^[\]]{0,200}\]){0,1000})\]\([ \t]*(?:<([^<>\n]{0,2000})>|((?:[^\s()]|\([^\s()]{0,200}\)){0,2000}))(?:\s+(?:"[^"]{0,500}"|'[^']{0,500}'))?[ \t]*\)/y;
const OPEN_LINK = /!?\[([^[\]\n]{1,300})\]\([^\s)]{0,2000}$/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy;
const BARE = /https?:\/\/[^\s<>"'`\\^{}|]{1,2000}/y;
const ENTITY = /&(?:(lt|gt|amp|quot|apos|nbsp)|#(\d{1,7})|#x([0-9a-f]{1,6}));/iy;
const BREAK = /<br *\/?>/iy;
const WORD = /[\p{L}\p{N}]/u;
const at = (/** @type {RegExp} */ pattern, /** @type {string} */ text, /** @type {number} */ index) => (
  (pattern.lastIndex = index),
  pattern.exec(text)
);

/**
 * Append a line of Markdown to *parent*. With *open*, its end has not arrived yet: marks without a partner hold until it ends.
 * @param {Element} parent @param {string} text @param {RenderOptions & {inLink?: boolean}} options
 */
function inline(parent, text, options) {
  const marks = /** @type {any[]} */ ([]);
  const missing = new Set(); // lengths of backtick runs that do not come again
  let plain = "";
  const flush = (/** @type {Node | undefined} */ node) => {
    if (plain) parent.append(plain);
    plain = "";
    if (node) parent.append(node);
  };
  if (options.open) text = text.replace(/(?:[*_~`]{1,3}|!?\[|\\)$/, ""); // it may be the beginning of a mark
  for (let i = 0; i < text.length;) {
    SPECIAL.lastIndex = i;
    const next = /** @type {RegExpExecArray} */ (SPECIAL.exec(text));
    plain += text.slice(i, next.index);
    i = next.index;
    const char = text[i];
    let match;
    if (char === undefined) break;
    if (char === "\\" && /[!-/:-@[-`{-~]/.test(text[i + 1] ?? "")) {
      plain += text[i + 1];
      i += 2;
    } else if (char === "\n") {
      const hard = plain.endsWith("  ") || plain.endsWith("\\");
      plain = hard ? plain.replace(/(?: {2,}|\\)$/, "") : plain + "\n";
      if (hard) flush(el("br"));
      i += 1;
    } else if (char === "`") {
      const run = /** @type {RegExpExecArray} */ (at(/`+/y, text, i))[0];
      let end = missing.has(run.length) ? -1 : closingRun(text, i + run.length, run.length);
      if (end < 0) missing.add(run.length);
      if (end < 0 && options.open) end = text.length;
      const code = text.slice(i + run.length, end).replaceAll("\n", " ");
      if (end >= 0) flush(el("code", {}, code.startsWith(" ") && code.endsWith(" ") && code.trim() ? code.slice(1, -1) : code));
      else plain += run;
      i = end < 0 ? i + run.length : end + run.length;
    } else if (
      (char === "!" ? text[i + 1] === "[" : char === "[" && !options.inLink) &&
      (match = at(LINK, text, i + Number(char === "!")))
    ) {
      i = LINK.lastIndex; // before the label is read with the same pattern
      const shown = linked(match, char === "!", options);
      if (typeof shown === "string") plain += shown;
      else flush(shown);
    } else if (options.open && (char === "[" || char === "!") && (match = at(OPEN_LINK, text, i))) {
      plain += match[1]; // the address is still arriving
      i = text.length;
    } else if (char === "<" && (match = at(BREAK, text, i))) {
      flush(el("br"));
      i = BREAK.lastIndex;
    } else if (char === "<" && !options.inLink && (match = at(AUTOLINK, text, i))) {
      flush(link(match[1], match[1]) ?? document.createTextNode(match[0]));
      i = AUTOLINK.lastIndex;
    } else if (char === "h" && !options.inLink && !WORD.test(text[i - 1] ?? " ") && (match = at(BARE, text, i))) {
      const address = trimmed(match[0]);
      flush(link(address, address) ?? document.createTextNode(address));
      i += address.length;
    } else if (char === "&" && (match = at(ENTITY, text, i))) {
      const code = match[2] ? Number(match[2]) : parseInt(match[3], 16);
      const name = /** @type {keyof typeof ENTITIES | undefined} */ (match[1]?.toLowerCase());
      plain += name ? ENTITIES[name] : code > 0 && code < 0x110000 ? String.fromCodePoint(code) : match[0];
      i = ENTITY.lastIndex;
    } else if (char === "*" || char === "_" || char === "~") {
      const run = /** @type {RegExpExecArray} */ (at(/([*_~])\1*/y, text, i))[0];
      const before = text[i - 1] ?? " ";
      const behind = text[i + run.length] ?? " ";
      const opens = /\S/.test(behind) && !(char === "_" && WORD.test(before));
      const closes = /\S/.test(before) && !(char === "_" && WORD.test(behind));
      if ((opens || closes) && !(char === "~" && run.length !== 2)) {
        flush(document.createTextNode(run));
        marks.push({ node: parent.lastChild, char, count: run.length, opens, closes, index: marks.length });
      } else plain += run;
      i += run.length;
    } else {
      plain += char;
      i += 1;
    }
  }
  flush(undefined);
  emphasize(parent, marks, options.open ?? false);
}

/** A link or a picture; text if its address is not allowed. @param {RegExpExecArray} match @param {boolean} isImage @param {any} options */
function linked([source, label, inBrackets, bare], isImage, options) {
  const address = inBrackets ?? bare;
  const src = isImage ? safeUrl(address) : null;
  const isShown = src?.startsWith("http") && (typeof options.images === "function" ? options.images(src) : options.images);
  if (isShown) return el("img", { src, alt: label, loading: "lazy", referrerpolicy: "no-referrer" });
  if (options.inLink) return label;
  const node = link(address);
  if (node) inline(node, label || address, { ...options, open: false, inLink: true });
  return node ?? source;
}

/** The index of the next run of exactly *length* backticks, or -1. @param {string} text @param {number} from @param {number} length */
function closingRun(text, from, length) {
  const runs = /`+/g;
  runs.lastIndex = from;
  for (let match; (match = runs.exec(text));) if (match[0].length === length) return match.index;
  return -1;
}

/** A URL in a sentence, without the sentence's punctuation. @param {string} url */
function trimmed(url) {
  let end = url.length;
  let extra = url.split(")").length - url.split("(").length; // closing parentheses without an opening one
  while (end && (/[.,;:!?*_~]/.test(url[end - 1]) || (url[end - 1] === ")" && extra-- > 0))) end -= 1;
  return url.slice(0, end);
}

/** Wrap what is between two marks, with a stack for each character. @param {Element} parent @param {any[]} marks @param {boolean} open */
function emphasize(parent, marks, open) {
  const stacks = /** @type {Record<string, any[]>} */ ({ "*": [], _: [], "~": [] });
  const levels = new Map();
  const wrap = (/** @type {any} */ opener, /** @type {Node | null} */ end, /** @type {number} */ count) => {
    const element = el(opener.char === "~" ? "del" : count === 2 ? "strong" : "em");
    let level = 0;
    for (let node = opener.node.nextSibling; node && node !== end; node = opener.node.nextSibling) {
      level = Math.max(level, levels.get(node) ?? 0);
      element.append(node);
    }
    levels.set(element, level + 1);
    opener.node.after(element);
    if (level >= MAX_DEPTH) for (const stack of Object.values(stacks)) stack.length = 0; // nothing is wrapped around this
  };
  for (const mark of marks) {
    const stack = stacks[mark.char];
    while (mark.closes && mark.count && stack.length) {
      const opener = stack[stack.length - 1];
      const count = mark.char === "~" ? 2 : Math.min(2, opener.count, mark.count);
      wrap(opener, mark.node, count);
      opener.count -= count;
      mark.count -= count;
      for (const other of Object.values(stacks)) while (other.length && other[other.length - 1].index > opener.index) other.pop();
      if (!opener.count && stack.length) stack.pop();
    }
    if (mark.opens && mark.count) stack.push(mark);
  }
  const unclosed = open ? Object.values(stacks).flat() : [];
  unclosed.sort((a, b) => b.index - a.index);
  for (const opener of unclosed.slice(0, MAX_DEPTH)) {
    const count = Math.min(2, opener.count);
    wrap(opener, null, count);
    opener.count -= count;
  }
  for (const { node, char, count } of marks) count ? (node.data = char.repeat(count)) : node.remove();
  parent.normalize();
}

const FENCE = /^ {0,3}(`{3,}|~{3,}(?!~))([^`]*)$/;
const CLOSING_FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:[ \t]{1,4}(?=\S)|[ \t]|$)/;
const QUOTE = /^ {0,3}> ?/;
const UNDERLINE = /^ {0,3}(=+|-{2,})[ \t]*$/;
const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;

/** Columns of white space at the start of *line*. @param {string} line */
function indent(line) {
  let column = 0;
  for (let i = 0; line[i] === " " || line[i] === "\t"; i++) column += line[i] === "\t" ? 4 - (column % 4) : 1;
  return column;
}

/** Remove up to *columns* of white space. @param {string} line @param {number} columns */
function dedent(line, columns) {
  let i = 0;
  for (let column = 0; column < columns && (line[i] === " " || line[i] === "\t"); i++) column += line[i] === "\t" ? 4 - (column % 4) : 1;
  return line.slice(i);
}

/** The cells of a row. @param {string} row */
function cells(row) {
  const text = row.trim().replace(/^\|/, "");
  const found = [""];
  for (const [piece] of text.matchAll(/\\\||\||[^|\\]+|\\/g))
    piece === "|" ? found.push("") : (found[found.length - 1] += piece === "\\|" ? "|" : piece);
  if (found.length > 1 && !found[found.length - 1].trim()) found.pop();
  return found.map((cell) => cell.trim());
}

const isBlank = (/** @type {string | undefined} */ line) => !line || !line.trim();
const startsTable = (/** @type {string[]} */ lines, /** @type {number} */ i) =>
  lines[i].includes("|") &&
  i + 1 < lines.length &&
  DELIMITERS.test(lines[i + 1].trim()) &&
  cells(lines[i]).length === cells(lines[i + 1]).length;
/** Whether *line* ends the paragraph before it. @param {string} line */
function interrupts(line) {
  if (FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || RULE.test(line)) return true;
  const item = ITEM.exec(line);
  return item !== null && line.length > item[0].length && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1);
}

/**
 * The blocks of some lines, each with the index of its first line. Whether a block has ended depends only on the lines before the next one
 * and on that one's first line; `Markdown` needs that.
 * @param {string[]} lines @param {RenderOptions} options @param {number} [depth] @returns {{start: number, node: Element}[]}
 */
function blocks(lines, options, depth = 0) {
  const found = /** @type {{start: number, node: Element}[]} */ ([]);
  for (let i = 0; i < lines.length;) {
    const start = i,
      line = lines[i];
    const withOpen = (/** @type {number} */ end) => ({
      ...options,
      open: options.open && end >= lines.length - (isBlank(lines.at(-1)) ? 1 : 0),
    });
    const inner = (/** @type {string[]} */ part, end = i) =>
      depth < MAX_DEPTH ? blocks(part, withOpen(end), depth + 1).map((block) => block.node) : [el("p", {}, part.join("\n"))];
    const text = (/** @type {Element} */ node, /** @type {string} */ content) => (inline(node, content, withOpen(i)), node);
    let match, node;
    if (isBlank(line)) {
      i += 1;
      continue;
    } else if ((match = FENCE.exec(line))) {
      const code = [],
        fence = match[1],
        columns = indent(line);
      for (i += 1; i < lines.length; i++) {
        const closing = CLOSING_FENCE.exec(lines[i]);
        if (closing && closing[1][0] === fence[0] && closing[1].length >= fence.length) break;
        code.push(dedent(lines[i], columns));
      }
      i += 1;
      node = codeBlock(code.join("\n"), match[2].trim().split(/\s/)[0]);
    } else if ((match = HEADING.exec(line))) {
      i += 1;
      node = text(
        el(`h${match[1].length}`),
        line
          .slice(match[0].length)
          .trim()
          .replace(/(?:^|[ \t])#+$/, "")
          .trim(),
      );
    } else if (RULE.test(line)) {
      i += 1;
      node = el("hr");
    } else if (QUOTE.test(line)) {
      const part = [];
      while (i < lines.length && (QUOTE.test(lines[i]) || (!isBlank(lines[i]) && !interrupts(lines[i]))))
        part.push(lines[i++].replace(QUOTE, ""));
      node = el("blockquote", {}, inner(part));
    } else if (ITEM.test(line)) {
      [node, i] = list(lines, i, inner);
    } else if (indent(line) >= 4) {
      const part = [];
      while (i < lines.length && (isBlank(lines[i]) || indent(lines[i]) >= 4)) part.push(dedent(lines[i++], 4));
      node = codeBlock(part.join("\n").trimEnd(), "");
    } else if (startsTable(lines, i)) {
      const sides = cells(lines[i + 1]).map((cell) => (!cell.endsWith(":") ? null : cell.startsWith(":") ? "center" : "right"));
      const row = (/** @type {string} */ tag, /** @type {string} */ content) => {
        const given = cells(content);
        return el(
          "tr",
          {},
          sides.map((side, column) => text(el(tag, { class: side }), given[column] ?? "")),
        );
      };
      const head = el("thead", {}, row("th", line)),
        body = el("tbody");
      for (i += 2; i < lines.length && !isBlank(lines[i]) && !interrupts(lines[i]); i++) body.append(row("td", lines[i]));
      node = el("div", { class: "table", tabindex: "0" }, el("table", {}, head, body)); // on a phone it scrolls by itself
    } else {
      const part = [line.trimStart()];
      let heading = "";
      for (i += 1; i < lines.length && !isBlank(lines[i]) && !startsTable(lines, i); i++) {
        if ((match = UNDERLINE.exec(lines[i]))) heading = match[1][0] === "=" ? "h1" : "h2";
        if (heading || interrupts(lines[i])) break;
        part.push(lines[i].trimStart());
      }
      if (heading) i += 1;
      node = text(el(heading || "p"), part.join("\n").trimEnd());
    }
    found.push({ start, node });
  }
  return found;
}

/** The list that begins at line *i*, and the index behind it. @param {string[]} lines @param {number} i @param {(part: string[], end: number) => Element[]} inner @returns {[Element, number]} */
function list(lines, i, inner) {
  const [, , first] = /** @type {RegExpExecArray} */ (ITEM.exec(lines[i]));
  const start = /\d/.test(first) ? parseInt(first, 10) : null;
  const items = /** @type {string[][]} */ ([]);
  let isLoose = false;
  for (let match; i < lines.length && (match = ITEM.exec(lines[i])) && match[2].at(-1) === first.at(-1) && !RULE.test(lines[i]);) {
    const [marker, space] = match;
    const part = [lines[i++].slice(marker.length)];
    for (;;) {
      let next = i;
      while (next < lines.length && isBlank(lines[next])) next += 1;
      if (next >= lines.length) break;
      // Two columns are enough for a child, as models write it, although "1. " has three.
      if (indent(lines[next]) >= space.length + 2) {
        if (next > i) isLoose = true;
        for (; i < next; i++) part.push("");
        part.push(dedent(lines[i++], marker.length));
      } else if (next === i && !interrupts(lines[i]) && !ITEM.test(lines[i]) && !startsTable(lines, i)) part.push(lines[i++]);
      else {
        const sibling = next > i && ITEM.exec(lines[next]);
        if (sibling && sibling[2].at(-1) === first.at(-1) && !RULE.test(lines[next])) ((isLoose = true), (i = next));
        break;
      }
    }
    items.push(part);
  }
  const nodes = items.map((part, index) => {
    const task = /^\[([ xX])\] /.exec(part[0]);
    if (task) part[0] = part[0].slice(4);
    const end = index === items.length - 1 ? i : 0; // only the last item is open
    const children = inner(part, end).flatMap((child) => (child.localName === "p" && !isLoose ? [...child.childNodes] : [child]));
    const box = task ? el("input", { type: "checkbox", disabled: "", checked: task[1] === " " ? null : "" }) : [];
    return el("li", { class: task ? "task" : null }, box, children);
  });
  return [el(start === null ? "ul" : "ol", { start: start === null || start === 1 ? null : start }, nodes), i];
}

/** @param {string} code @param {string} language */
function codeBlock(code, language) {
  const content = el("code", {}, code);
  const bar = el(
    "div",
    { class: "code-bar" },
    el("span", {}, language.slice(0, 40)),
    copyButton(() => content.textContent),
  );
  return el("div", { class: "code" }, bar, el("pre", { tabindex: "0" }, content));
}

/** Return Markdown as DOM nodes. HTML in it is shown as text. @param {string} text @param {RenderOptions} [options] @returns {Element[]} */
export function render(text, options = {}) {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), options).map((block) => block.node);
}

/** What can be shown of an incomplete text: not the beginning of a line that may become another block, not a table's first line alone. @param {string} text */
function showable(text) {
  const lines = text.split("\n");
  const isRow = (/** @type {number} */ fromEnd) => /^ {0,3}\|/.test(lines.at(-fromEnd) ?? "");
  if (/^\s*(?:[-*+=>#~`]+|\d{1,9}[.)]?|\|.*)?[ \t]*$/.test(lines[lines.length - 1])) lines[lines.length - 1] = "";
  if (isRow(2) && !isRow(3)) lines.splice(-2, 1);
  return lines;
}

/** Markdown that grows: only its last block is rendered again, at most once a frame. */
export class Markdown {
  /** All that was appended. */ text = "";
  #rest = ""; // from the first line of the block that has not ended
  #last = /** @type {Node | null} */ (null); // the last block that has ended
  #isScheduled = false;
  #isEnded = false;
  #isPlain = false;
  #cost = 0; // milliseconds of the last frame

  /** @param {Element} element @param {RenderOptions & {onRender?: () => void}} [options] */
  constructor(element, options = {}) {
    this.element = element;
    this.options = options;
  }

  /** @param {string} text */
  append(text) {
    if (text.includes("\r") || this.text.endsWith("\r")) {
      if (this.text.endsWith("\r") && text.startsWith("\n")) this.#rest = this.#rest.slice(0, -1);
      this.#rest += text.replace(/\r\n?/g, "\n");
    } else this.#rest += text;
    this.text += text;
    if (this.#isScheduled || this.#isEnded) return;
    this.#isScheduled = true;
    // A block that takes long is rendered less often: at most a fifth of the time is spent on it, with the browser's layout.
    setTimeout(() => requestAnimationFrame(() => this.#frame()), this.#cost * 4);
  }

  #frame() {
    const begun = performance.now();
    if (!this.#isEnded) this.flush();
    setTimeout(() => (this.#cost = performance.now() - begun)); // runs after the frame
  }

  /** Render what was appended, now. */
  flush() {
    this.#isScheduled = false;
    try {
      if (!this.#isPlain) this.#render();
    } catch (error) {
      console.error("hfclient: the answer is shown without Markdown:", error);
      this.#isPlain = true;
    }
    if (this.#isPlain) this.element.textContent = this.text;
    this.options.onRender?.();
  }

  #render() {
    const lines = this.#rest.split("\n");
    // All blocks but the last have ended. An incomplete line does not say yet whether it begins another one.
    const found = blocks(lines.slice(0, -1), this.options);
    const ended = found.slice(0, -1).map((block) => block.node);
    if (ended.length) this.#rest = lines.slice(found[found.length - 1].start).join("\n");
    const shown = this.#isEnded ? this.#rest.split("\n") : showable(this.#rest);
    const tail = blocks(shown, { ...this.options, open: !this.#isEnded }).map((block) => block.node);
    patch(this.element, this.#following(), [...ended, ...tail]);
    for (let count = ended.length; count > 0; count--) this.#last = this.#following();
  }

  /** The text is complete. */
  end() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.flush();
  }

  #following() {
    return this.#last ? this.#last.nextSibling : this.element.firstChild;
  }
}
