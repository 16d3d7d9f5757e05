/**
 * A chat page over the server-sent events of hfclient.web: no build step, no dependencies.
 *
 *   hfclient.js  Chat              a form, a log of messages, stop, retry, resume; starts by itself on <main data-hfclient>
 *   answer.js    Answer            events to the elements of one answer
 *   markdown.js  render, Markdown  Markdown to DOM nodes; text never becomes HTML
 *   stream.js    follow            a URL to the events of one answer; reconnects with Last-Event-ID
 *                EventParser       bytes to server-sent events
 *
 * docs/web-frontend.rst describes the page, the URLs and the events.
 *
 * @typedef {import("./stream.js").AnswerEvent} AnswerEvent
 * @typedef {import("./answer.js").AnswerOptions} AnswerOptions
 */

import { Answer, string } from "./answer.js";
import { el, safeUrl } from "./elements.js";
import { Markdown, render } from "./markdown.js";
import { EventParser, follow, isStream, problemOf } from "./stream.js";

export { Answer, EventParser, Markdown, follow, render, safeUrl };

/** A random id; crypto.randomUUID exists only on https:// and localhost. */
const randomId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * A chat: *root* holds an element .messages, a form (the one of class .composer, or the first) with a field "prompt", and optionally elements .stop, .status and [data-prompt].
 *
 * URLs are options or data attributes of *root*; __run__ in them stands for the run's id:
 *   send    POST of the form, and retry=1 for another answer to the last prompt (default: the form's action). Answers {"run": id}, or
 *           streams the events itself; then a broken connection cannot be continued.
 *   follow  GET; the events of a run, from the header Last-Event-ID on.
 *   stop    POST; stops a run. Without it, leaving the stream is the stop.
 *   answer  POST of JSON {elicitation_id, action, content?}: the reply to a tool's question. May answer {"run": id} as well.
 *   run     The id of a run that has not ended; the page shows it after a refresh.
 *   thread  A name of the conversation. Tabs of the same browser with that name show its answers together.
 *
 * Each event is also a DOM event "hfclient:event" of *root*, with the event as `detail`.
 *
 * @typedef {AnswerOptions & {send?: string, follow?: string, stop?: string, answer?: string, run?: string, thread?: string,
 *   headers?: () => Record<string, string>, silence?: number, attempts?: number, wait?: number}} ChatOptions
 */
export class Chat {
  /** The answer that is shown last. */ answer = /** @type {Answer | null} */ (null);
  #run = "";
  #leave = new AbortController();
  #isStopping = false;
  #isDirect = false; // the answer of the POST is the stream
  #follows = true; // the page shows the end of the log

  /** @param {HTMLElement} root @param {ChatOptions} [options] */
  constructor(root, options = {}) {
    this.root = root;
    this.form = /** @type {HTMLFormElement} */ (root.querySelector("form.composer") ?? root.querySelector("form"));
    this.field = /** @type {HTMLTextAreaElement} */ (this.form.elements.namedItem("prompt"));
    this.log = /** @type {HTMLElement} */ (root.querySelector(".messages"));
    this.options = /** @type {ChatOptions} */ ({ send: this.form.action, ...root.dataset, ...options });
    this.form.addEventListener("submit", (event) => (event.preventDefault(), this.#submit()));
    this.field.addEventListener("keydown", (event) => {
      const isSend = event.key === "Enter" && !event.shiftKey && !event.isComposing && !matchMedia("(pointer: coarse)").matches;
      if (isSend) (event.preventDefault(), this.form.requestSubmit());
    });
    this.field.addEventListener("input", () => this.#resize());
    root.addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && this.isBusy && this.stop());
    root.querySelector(".stop")?.addEventListener("click", () => this.stop());
    for (const element of root.querySelectorAll("[data-prompt]")) {
      element.addEventListener(
        "click",
        () => ((this.field.value = /** @type {HTMLElement} */ (element).dataset.prompt ?? ""), this.form.requestSubmit()),
      );
    }
    addEventListener("scroll", () => (this.#follows = innerHeight + scrollY > document.documentElement.scrollHeight - 60), {
      passive: true,
    });
    for (const element of this.log.querySelectorAll("[data-markdown]")) this.#restore(element);
    this.#state("idle");
    this.#scroll();
    if (this.options.thread && globalThis.BroadcastChannel) {
      this.tabs = new BroadcastChannel(`hfclient:${this.options.thread}`);
      this.tabs.onmessage = ({ data }) =>
        this.isBusy || (data.prompt === null ? this.#removeAnswer() : this.#user(data.prompt), this.resume(data.run));
    }
    if (this.options.run) this.resume(this.options.run);
  }

  /** Whether an answer is being written. */
  get isBusy() {
    return this.root.dataset.state !== "idle";
  }

  /** Show an answer that the page brought as text. @param {Element} element */
  #restore(element) {
    const answer = (this.answer = new Answer({ ...this.options, onRetry: () => this.retry() }));
    for (const [name, text] of [
      ["Reasoning", element.getAttribute("data-reasoning")],
      ["Token", element.textContent],
    ])
      answer.add({ event: /** @type {string} */ (name), text });
    answer.end(null);
    this.#keepOneRetry(answer);
    element.replaceWith(answer.element);
  }

  #submit() {
    const data = new FormData(this.form);
    if (this.isBusy || !String(data.get("prompt") ?? "").trim()) return;
    this.form.reset();
    this.#resize();
    return this.send(data);
  }

  /** Send a prompt, or all fields of a form, and show the answer; resolves at its end. @param {FormData | string} data */
  async send(data) {
    if (typeof data === "string") {
      const fields = new FormData(this.form);
      fields.set("prompt", data);
      data = fields;
    }
    this.#user(
      String(data.get("prompt")),
      /** @type {File[]} */ ([...data.values()].filter((value) => value instanceof File && value.name)),
    );
    this.#unsent = null;
    this.#isUncertain = false;
    await this.#ask(data, data);
  }

  /** Ask for another answer to the last prompt. */
  async retry() {
    if (this.isBusy) return;
    const prompt = [...this.log.querySelectorAll(".message.user .text")].at(-1)?.textContent ?? "";
    const data = this.#unsent ?? new FormData(this.form); // files of a prompt that the server did not take are sent again
    data.set("prompt", prompt);
    data.set("retry", "1");
    this.#removeAnswer();
    await this.#ask(data, this.#unsent);
  }

  #unsent = /** @type {FormData | null} */ (null);

  #key = "";

  /** The message may have arrived, and what the server said is lost: with the same key it starts no second answer. */
  #isUncertain = false;

  /** @param {FormData} data @param {FormData | null} unsent The same, if the server has not taken it yet. */
  async #ask(data, unsent) {
    this.#begin();
    if (!this.#isUncertain) this.#key = randomId();
    this.#unsent = unsent;
    this.#isUncertain = true;
    const signal = this.#leave.signal;
    const headers = { Accept: "application/json, text/event-stream", "Idempotency-Key": this.#key };
    try {
      const response = await this.#post(/** @type {string} */ (this.options.send), data, headers, signal);
      this.#unsent = null;
      this.#isUncertain = false;
      this.#isDirect = isStream(response);
      if (this.#isDirect) return await this.#show(null, { response });
      const { run } = await response.json();
      this.tabs?.postMessage({ run, prompt: data.has("retry") && !unsent ? null : String(data.get("prompt")) });
      await this.#follow(run);
    } catch (error) {
      const failed = /** @type {any} */ (error);
      if (failed.code) this.#isUncertain = false; // the application has refused it: under the same key it would refuse again
      if (failed.event === "problem") this.#add(failed);
      else if (!signal.aborted) this.#add({ event: "problem", code: "connection-lost", title: "The message could not be sent." });
      this.#add({ event: "end", status: signal.aborted ? "interrupted" : "failed" });
    } finally {
      this.#state("idle");
    }
  }

  /** Show an answer that was started elsewhere: before a refresh, in another tab. @param {string} run */
  async resume(run) {
    this.#begin();
    await this.#follow(run).finally(() => this.#state("idle"));
  }

  /** Stop the answer. The text so far stays. */
  async stop() {
    if (!this.isBusy || this.#isStopping) return;
    this.#isStopping = true;
    this.#state("stopping");
    if (this.#isDirect || !this.options.follow || (this.#run && !this.options.stop)) return this.#interrupt();
    if (!this.#run || !this.options.stop) return; // as soon as the run has an id
    const answer = this.answer;
    try {
      await this.#post(this.#url(this.options.stop), null, {}, AbortSignal.timeout(10000));
      setTimeout(() => answer === this.answer && !answer?.isEnded && this.#interrupt(), 5000); // the last event should be here long before
    } catch (error) {
      this.#isStopping = false;
      this.#state("answering");
      this.answer?.note(/** @type {any} */ (error).title ?? "The answer could not be stopped.");
    }
  }

  #interrupt() {
    this.#leave.abort();
    this.#add({ event: "end", status: "interrupted" });
  }

  /** @param {string} run */
  async #follow(run) {
    if (typeof run !== "string" || !this.options.follow)
      throw new TypeError("the server's answer has no run, or the page no URL to follow it");
    this.#run = run;
    if (this.#isStopping) ((this.#isStopping = false), this.stop()); // it was asked for before the run had an id
    await this.#show(this.#url(this.options.follow), {});
  }

  /** @param {string | null} url @param {object} options */
  async #show(url, options) {
    const { silence, attempts, wait, headers } = this.options;
    for await (const event of follow(url, { silence, attempts, wait, headers: headers?.(), signal: this.#leave.signal, ...options }))
      this.#add(event);
  }

  /** @param {AnswerEvent} event */
  #add(event) {
    this.root.dispatchEvent(new CustomEvent("hfclient:event", { detail: event, bubbles: true }));
    if (event.event === "lost") this.#state("reconnecting");
    else if (event.event !== "end" && this.root.dataset.state !== "stopping") this.#state("answering");
    if (event.event === "Title")
      for (const element of this.root.ownerDocument.querySelectorAll("[data-title]")) element.textContent = string(event.title, 200);
    this.answer?.add(event);
  }

  /** @param {string} url */
  #url(url) {
    return url.replace("__run__", encodeURIComponent(this.#run));
  }

  /** @param {string} url @param {FormData | string | null} body @param {Record<string, string>} headers @param {AbortSignal} signal */
  async #post(url, body, headers, signal) {
    const token = /** @type {HTMLInputElement | null} */ (this.form.querySelector("[name=csrfmiddlewaretoken], [name=csrf_token]"))?.value;
    const isOwn = new URL(url, location.href).origin === location.origin;
    const csrf = /** @type {Record<string, string>} */ (token && isOwn ? { "X-CSRFToken": token } : {});
    const response = await fetch(url, { method: "POST", body, headers: { ...csrf, ...headers, ...this.options.headers?.() }, signal });
    if (!response.ok) throw await problemOf(response);
    return response;
  }

  #begin() {
    this.#leave = new AbortController();
    [this.#run, this.#isStopping, this.#isDirect, this.#follows] = ["", false, false, true];
    this.answer = new Answer({
      ...this.options,
      onRender: () => this.#scroll(),
      onRetry: () => this.retry(),
      onReply: (reply) => this.#reply(reply),
    });
    this.#keepOneRetry(this.answer);
    this.log.append(this.answer.element);
    this.#state("sending");
    this.#scroll();
  }

  /** @param {object} reply */
  async #reply(reply) {
    if (!this.options.answer) throw new TypeError("the page has no URL for replies");
    const response = await this.#post(
      this.#url(this.options.answer),
      JSON.stringify(reply),
      { "Content-Type": "application/json" },
      AbortSignal.timeout(30000),
    );
    const { run } = await response.json().catch(() => ({}));
    if (run && run !== this.#run) this.resume(run); // the answer had ended and waited for this
  }

  /** Only the last answer can be asked for again. @param {Answer} last */
  #keepOneRetry(last) {
    for (const old of this.log.querySelectorAll(".retry, .problem button")) if (!last.element.contains(old)) old.remove();
  }

  #removeAnswer() {
    if (this.log.lastElementChild?.classList.contains("assistant")) this.log.lastElementChild.remove();
  }

  /** @param {string} prompt @param {File[]} [files] */
  #user(prompt, files = []) {
    const names = files.map((file) => el("p", { class: "file" }, el("span", {}, file.name)));
    this.log.append(el("article", { class: "message user" }, el("div", { class: "text", dir: "auto" }, prompt), names));
  }

  /** @param {string} state idle, sending, answering, reconnecting or stopping */
  #state(state) {
    const words = /** @type {Record<string, string>} */ ({
      sending: "Sending…",
      answering: "Answering…",
      reconnecting: "The connection broke. Reconnecting…",
      stopping: "Stopping…",
    });
    const status = this.root.querySelector(".status");
    const text =
      words[state] ?? (!this.root.dataset.state ? "" : this.answer?.element.querySelector(".problem") ? "" : "The answer is complete.");
    if (status && status.textContent !== text && this.root.dataset.state !== state) status.textContent = text;
    this.root.dataset.state = state;
  }

  #resize() {
    this.field.rows = Math.min(8, this.field.value.split("\n").length);
  }

  #scroll() {
    if (this.#follows) scrollTo({ top: document.documentElement.scrollHeight });
  }
}

for (const root of globalThis.document?.querySelectorAll("[data-hfclient]") ?? []) new Chat(/** @type {HTMLElement} */ (root));
