/**
 * The elements of one answer.
 *
 * @typedef {import("./stream.js").AnswerEvent} AnswerEvent
 */

import { copyButton, el, link } from "./elements.js";
import { Markdown } from "./markdown.js";

const LONGEST_WAIT = 31 * 86400; // seconds

/** When a refused request can be repeated, for people. @param {number} until Milliseconds since 1970 */
function waitText(until) {
  const seconds = Math.ceil((until - Date.now()) / 1000);
  if (seconds <= 0) return "You can try again now.";
  if (seconds < 120) return `You can try again in ${seconds} s.`;
  if (seconds < 3600) return `You can try again in ${Math.ceil(seconds / 60)} minutes.`;
  return `You can try again after ${new Date(until).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`;
}

/** Any value as text of a bearable length. @param {any} value */
export const string = (value, limit = 20000) => (typeof value === "string" ? value : JSON.stringify(value ?? "", null, 2)).slice(0, limit);

/** A button with a handler. @param {string} label @param {(button: HTMLButtonElement) => unknown} onClick @param {string} [kind] @returns {HTMLButtonElement} */
function button(label, onClick, kind) {
  const made = el("button", { type: "button", class: kind }, label);
  made.addEventListener("click", () => onClick(made));
  return made;
}

/**
 * The elements of one answer: text, reasoning, tools, files and questions in the order of their events; below them problems and buttons.
 *
 * @typedef {import("./markdown.js").RenderOptions & {
 *   onRender?: () => void,
 *   onRetry?: () => void,
 *   fileUrl?: (file: AnswerEvent) => string | null | undefined,
 *   onReply?: (reply: {elicitation_id: string, action: string, content?: Record<string, any>}) => Promise<void>,
 * }} AnswerOptions *fileUrl*: where the browser gets a file of the answer; without it, only its name is shown.
 */
export class Answer {
  /** The text of the answer. */ text = "";
  isEnded = false;
  #grown = /** @type {{kind: string, markdown: Markdown} | null} */ (null); // the part that grows: text or reasoning
  #parts = /** @type {Map<string, any>} */ (new Map()); // tools and questions by their ids
  #timer = /** @type {any} */ (0);

  /** @param {AnswerOptions} [options] */
  constructor(options = {}) {
    this.options = options;
    this.body = el("div", { class: "body" });
    this.foot = el("footer", { class: "actions" });
    this.element = el("article", { class: "message assistant", "aria-busy": "true" }, this.body, this.foot);
  }

  /** Show an event; unknown ones are skipped. @param {AnswerEvent} event */
  add(event) {
    if (this.isEnded) return;
    try {
      this.#show(event);
    } catch (error) {
      console.error("hfclient: an event cannot be shown:", event, error); // what a tool sends must not end the answer
    }
    this.options.onRender?.();
  }

  /** @param {AnswerEvent} event */
  #show(event) {
    const { uuid, message, status } = event;
    if (event.event === "Token") this.#grow("text", event.text);
    else if (event.event === "Reasoning") this.#grow("reasoning", event.text);
    else if (event.event === "FinalAnswer") this.#complete(string(event.text, Infinity));
    else if (event.event === "ToolCall") this.#tool(uuid, event.name, "running", event.arguments ?? event.parameters);
    else if (event.event === "ToolProgress")
      this.#tool(uuid, "", message ?? (event.total ? `${Math.round((100 * event.progress) / event.total)} %` : "running"));
    else if (event.event === "ToolResult")
      this.#tool(
        uuid,
        event.name,
        status === "error" ? "failed" : "done",
        message ?? event.outputs?.map((/** @type {any} */ part) => part.text ?? part),
      );
    else if (event.event === "ToolError") this.#tool(uuid, "", "failed", message);
    else if (event.event === "WebSearch")
      this.#tool(
        "search",
        "Web search",
        { error: "failed", finished: "done" }[/** @type {string} */ (event.kind)] ?? "running",
        [message, ...(event.args ?? [])].join(" "),
      );
    else if (event.event === "Sources") this.#append(el("ol", { class: "sources" }, (event.sources ?? []).map(sourceItem)));
    else if (event.event === "File") this.#file(event);
    else if (event.event === "Elicitation") this.#question(event);
    else if (event.event === "ElicitationResolved") this.#resolve(event.elicitation_id, event.action);
    else if (event.event === "Finish" && event.reason === "length") this.note("The answer has reached its maximum length.");
    else if (event.event === "problem") this.problem(event);
    else if (event.event === "end") this.end(status);
  }

  /** @param {string} kind @param {any} text */
  #grow(kind, text) {
    if (typeof text !== "string" || !text) return;
    if (kind === "text") this.text += text;
    if (this.#grown?.kind !== kind) {
      const element = el("div", { class: "markdown", dir: "auto" });
      this.#append(kind === "text" ? element : el("details", { class: "reasoning" }, el("summary", {}, "Reasoning"), element));
      this.#grown = { kind, markdown: new Markdown(element, this.options) };
    }
    this.#grown.markdown.append(text);
  }

  /**
   * The whole text, as the server stores it. It replaces the parts if they differ: another worker that continues an answer may have cut it
   * into other pieces. With tools it is the text of the last round only.
   * @param {string} text
   */
  #complete(text) {
    const isWhole = !this.#parts.size && !(this.text && text.includes("<think>"));
    const answer = text.replace(/<think>[^]*?(?:<\/think>|$)/g, "").trim();
    if ((this.text && !isWhole) || this.text.trim() === answer) return;
    for (const part of this.body.querySelectorAll(":scope > .markdown")) part.remove();
    if (this.#grown?.kind === "text") this.#grown = null;
    this.text = "";
    this.#grow("text", answer);
  }

  /** Begin a part of another kind. @param {Element} element */
  #append(element) {
    this.#grown?.markdown.end();
    this.#grown = null;
    this.body.append(element);
    return element;
  }

  /** @param {string} id @param {string} name @param {string} state @param {any} [detail] */
  #tool(id, name, state, detail) {
    const known = this.#parts.get(id);
    const part =
      known ??
      this.#append(
        el(
          "details",
          { class: "tool" },
          el("summary", {}, el("span", { class: "tool-name" }, name || "Tool"), el("span", { class: "tool-state" })),
        ),
      );
    this.#parts.set(id, part);
    part.dataset.state = ["done", "failed"].includes(state) ? state : "running";
    part.querySelector(".tool-state").textContent = string(state, 200);
    if (detail !== undefined && detail !== null)
      part.append(
        el(
          "pre",
          { tabindex: "0" },
          [detail]
            .flat()
            .map((value) => string(value))
            .join("\n"),
        ),
      );
  }

  /** @param {AnswerEvent} file */
  #file(file) {
    const url = this.options.fileUrl?.(file);
    const isPicture = /^image\/(png|jpeg|webp|gif|avif)$/.test(file.mime); // an SVG can hold scripts
    const name = string(file.name, 200);
    const content = !url
      ? el("span", {}, name)
      : isPicture
        ? el("img", { src: url, alt: name })
        : el("a", { href: url, download: name }, name);
    this.#append(el("p", { class: "file" }, content));
  }

  /** A tool's question as a form. @param {AnswerEvent} question */
  #question(question) {
    const id = string(question.elicitation_id, 200);
    const fields = (question.fields ?? []).map((/** @type {any} */ field, /** @type {number} */ number) =>
      questionField(field, `${id}-${number}`),
    );
    const page = question.mode === "url" ? link(question.url, question.url) : null;
    const form = el(
      "form",
      { class: "question" },
      el("p", {}, el("strong", {}, string(question.server, 200)), " asks: ", string(question.message, 2000)),
      page ? el("p", {}, page) : [],
    );
    for (const { label } of fields) form.append(label);
    const send = async (/** @type {string} */ action) => {
      const given = fields
        .map((/** @type {any} */ field) => [field.name, field.value()])
        .filter((/** @type {any[]} */ [, value]) => value !== undefined);
      const content = action === "accept" && !page ? { content: Object.fromEntries(given) } : {};
      try {
        for (const control of form.elements) control.disabled = true;
        await this.options.onReply?.({ elicitation_id: id, action, ...content });
        this.#resolve(id, action);
      } catch (error) {
        for (const control of form.elements) control.disabled = false;
        form.querySelector("output").textContent = /** @type {any} */ (error).title ?? "The reply could not be sent.";
      }
    };
    form.addEventListener("submit", (/** @type {Event} */ event) => (event.preventDefault(), send("accept")));
    form.append(
      el(
        "p",
        { class: "buttons" },
        el("button", {}, page ? "Done" : "Send"),
        button("Decline", () => send("decline")),
      ),
      el("output"),
    );
    this.#parts.set(id, this.#append(form));
  }

  /** @param {string} id @param {string} action */
  #resolve(id, action) {
    const form = this.#parts.get(id);
    for (const control of form?.elements ?? []) control.disabled = true;
    if (form) form.querySelector("output").textContent = { accept: "Answered.", decline: "Declined." }[action] ?? "No longer open.";
  }

  /** Add a remark below the answer. @param {string} text */
  note(text) {
    this.element.insertBefore(el("p", { class: "note" }, text), this.foot);
  }

  /** Show an error, when it can be tried again, and the button for it. @param {AnswerEvent} problem */
  problem(problem) {
    const box = el("div", { class: "problem", role: "alert" }, el("p", {}, string(problem.title, 500)));
    if (problem.detail) box.append(el("p", { class: "detail" }, string(problem.detail, 2000)));
    const again = this.options.onRetry && button("Try again", () => this.options.onRetry?.());
    const seconds = problem.retry_after;
    if (typeof seconds === "number" && seconds > 0) {
      const until = Date.now() + 1000 * Math.min(seconds, LONGEST_WAIT);
      const time = box.appendChild(el("p", { class: "wait" }));
      const show = () => {
        time.textContent = waitText(until);
        if (again) again.disabled = Date.now() < until;
        if (Date.now() >= until || !time.isConnected) clearInterval(this.#timer);
      };
      this.#timer = setInterval(show, 1000);
      setTimeout(show);
    }
    if (again) box.append(again);
    this.element.insertBefore(box, this.foot);
  }

  /** The answer is complete, or ended early. @param {string | null} status */
  end(status) {
    if (this.isEnded) return;
    this.#grown?.markdown.end();
    this.isEnded = true;
    this.element.removeAttribute("aria-busy");
    for (const part of this.#parts.values()) if (part.dataset.state === "running") part.dataset.state = "left";
    if (status === "interrupted") this.note("Stopped.");
    else if (status === "failed" && !this.element.querySelector(".problem"))
      this.problem({ event: "problem", title: "The answer failed." });
    if (this.text) this.foot.append(copyButton(() => this.text));
    if (this.options.onRetry && !this.element.querySelector(".problem"))
      this.foot.append(button("Try again", () => this.options.onRetry?.(), "retry"));
  }
}

/** @param {any} source */
const sourceItem = (source) =>
  el("li", {}, link(source.link, string(source.title ?? source.hostname ?? source.link, 300)) ?? string(source.title ?? source.link, 300));

/** The control for a field of a question, in the terms of chat-ui's ElicitationField. @param {any} field @param {string} id */
function questionField(field, id) {
  const { kind, required, options = [], multiple } = field;
  const shared = { id, required: required && kind !== "boolean" ? "" : null };
  const types = /** @type {Record<string, string>} */ ({
    number: "number",
    boolean: "checkbox",
    email: "email",
    uri: "url",
    date: "date",
    "date-time": "datetime-local",
  });
  const limits = {
    min: field.minimum,
    max: field.maximum,
    minlength: field.minLength,
    maxlength: field.maxLength,
    step: kind === "number" ? (field.integer ? 1 : "any") : null,
  };
  const choices = options.map((/** @type {any} */ option) =>
    el(
      "option",
      { value: string(option.value), selected: [field.default].flat().includes(option.value) ? "" : null },
      string(option.label ?? option.value, 300),
    ),
  );
  const control =
    kind === "select"
      ? el("select", { ...shared, multiple: multiple ? "" : null }, multiple || required ? [] : el("option", { value: "" }, "—"), choices)
      : el("input", { ...shared, ...limits, type: types[kind] ?? types[field.format] ?? "text", autocomplete: "off" });
  if (kind === "boolean") control.checked = field.default === true;
  else if (kind !== "select" && field.default !== undefined) control.value = string(field.default);
  const value = () => {
    if (kind === "boolean") return control.checked;
    if (multiple) return [...control.selectedOptions].map((option) => option.value);
    if (control.value === "") return undefined;
    return kind === "number"
      ? Number(control.value)
      : control.type === "datetime-local"
        ? new Date(control.value).toISOString()
        : control.value;
  };
  const label = el(
    "label",
    { class: `field ${kind === "boolean" ? "check" : ""}`, for: id },
    el("span", {}, string(field.title ?? field.name, 200)),
    control,
    field.description ? el("small", {}, string(field.description, 500)) : [],
  );
  return { name: string(field.name, 200), label, value };
}
