/**
 * The server-sent events of one answer, over broken connections.
 *
 * @typedef {{event: string, lastEventId?: string, [field: string]: any}} AnswerEvent An event of hfclient.events as a dict, or one of
 *   {event: "open"}, {event: "lost", attempt, wait}, {event: "problem", title, status, code, retry_after}, {event: "end", status}.
 */

const TEMPORARY = [408, 429, 502, 503, 504]; // of a proxy, or of a server that starts
const TEMPORARY_CODES = ["store-unavailable", "too-many-runs"]; // other problems with a code are the end of the run
const MAX_EVENT = 1 << 24; // characters; a line without an end must not fill the memory

/** An incremental parser of text/event-stream. Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html */
export class EventParser {
  /** The id of the last complete event. */ lastEventId = "";
  /** Milliseconds before a reconnect, if the server sent `retry:`. @type {number | null} */ retry = null;
  #decoder = new TextDecoder(); // keeps the bytes of a split character, removes one byte order mark
  #rest = "";
  #afterReturn = false;
  #id = /** @type {string | null} */ (null);
  #type = "";
  #data = /** @type {string[]} */ ([]);
  #size = 0;

  /**
   * Return the events that *bytes* complete. The id of an event is null if it has none of its own.
   * @param {Uint8Array} bytes
   * @returns {{type: string, data: string, id: string | null}[]}
   */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return [];
    if (this.#afterReturn && text[0] === "\n") text = text.slice(1); // the second half of a CR LF
    this.#afterReturn = text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0];
    this.#rest = /** @type {string} */ (lines.pop());
    const events = [];
    for (const line of lines) {
      if (line) this.#field(line);
      else {
        if (this.#data.length) events.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
        this.lastEventId = this.#id ?? this.lastEventId;
        [this.#type, this.#id, this.#data, this.#size] = ["", null, [], 0];
      }
    }
    if (this.#size + this.#rest.length > MAX_EVENT) throw new RangeError("an event of the stream is too large");
    return events;
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    this.#size += value.length;
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d{1,9}$/.test(value)) this.retry = Number(value);
  }
}

/** The seconds of a Retry-After header, or null. @param {Response} response */
function retryAfter(response) {
  const value = response.headers.get("Retry-After") ?? "";
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** The problem that a refused request describes. @param {Response} response @returns {Promise<AnswerEvent>} */
export async function problemOf(response) {
  const isJson = /\bjson\b/.test(response.headers.get("Content-Type") ?? "");
  const body = (isJson && (await response.json().catch(() => null))) || {};
  const title = typeof body.title === "string" ? body.title : `The server's answer cannot be used (status ${response.status}).`;
  return { status: response.status, retry_after: retryAfter(response), ...body, title, event: "problem" };
}

/** Whether an answer is a stream of events. */
export const isStream = (/** @type {Response} */ response) => (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");

/** Wait; the return of the network or of the user to the page ends it early. @param {number} seconds @param {AbortSignal} [signal] */
function pause(seconds, signal) {
  return /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", finish);
        globalThis.removeEventListener?.("online", finish);
        globalThis.document?.removeEventListener?.("visibilitychange", shown);
        resolve();
      };
      const shown = () => document.visibilityState === "visible" && finish();
      const timer = setTimeout(finish, seconds * 1000);
      signal?.addEventListener("abort", finish);
      globalThis.addEventListener?.("online", finish);
      globalThis.document?.addEventListener?.("visibilitychange", shown);
      if (signal?.aborted) finish();
    })
  );
}

/**
 * Yield the events of one answer. The last one is {event: "end"}, unless *signal* ended it.
 *
 * A connection that breaks, or is without a byte for *silence* seconds, is opened again with the id of the last event, as is one that
 * a proxy refuses for the moment, after its Retry-After. 204 ends the answer. Problems that the application describes end it, too.
 *
 * @param {string | null} url Null if the answer cannot be asked for again: *response* is all there is.
 * @param {object} [options]
 * @param {Response} [options.response] An answer that is open already, such as that of the POST.
 * @param {string} [options.after] The id of the last event that is known.
 * @param {Record<string, string>} [options.headers] Headers of each request.
 * @param {AbortSignal} [options.signal] Ends it.
 * @param {number} [options.silence] Seconds; more than the server's heartbeat.
 * @param {number} [options.attempts] Failed attempts in a row, at most.
 * @param {number} [options.wait] Seconds before the first repetition; doubles each time, up to 10.
 * @returns {AsyncGenerator<AnswerEvent, void>}
 */
export async function* follow(url, { response, after = "", headers = {}, signal, silence = 15, attempts = 8, wait = 0.5 } = {}) {
  let failed = 0;
  let delay = /** @type {number | null} */ (null);
  while (!signal?.aborted) {
    const connection = new AbortController();
    let heard = Date.now();
    const check = () => Date.now() - heard > silence * 1000 && connection.abort();
    const leave = () => connection.abort();
    const timer = setInterval(check, 1000); // compares clocks: timers stand still in a sleeping computer and a hidden tab
    signal?.addEventListener("abort", leave);
    globalThis.document?.addEventListener?.("visibilitychange", check);
    globalThis.addEventListener?.("online", check);
    let reader = /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */ (undefined);
    try {
      if (!response) {
        const lastEvent = /** @type {Record<string, string>} */ (after ? { "Last-Event-ID": after } : {});
        const accept = { Accept: "text/event-stream", ...headers, ...lastEvent };
        response = await fetch(/** @type {string} */ (url), { headers: accept, signal: connection.signal, cache: "no-store" });
      }
      if (response.status === 204) return yield { event: "end", status: null };
      delay = retryAfter(response);
      if (!response.ok || !isStream(response)) {
        const problem = await problemOf(response);
        // A head that is cut off can look like a 200 without a type; a page for logins comes again.
        const isCut = response.ok && failed < 2;
        const isTemporary = problem.code ? TEMPORARY_CODES.includes(problem.code) : isCut || TEMPORARY.includes(response.status);
        if (isTemporary && (delay ?? 0) <= 60) throw new Error(problem.title);
        yield problem;
        return yield { event: "end", status: "failed" };
      }
      yield { event: "open" };
      const parser = new EventParser();
      reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      connection.signal.addEventListener("abort", () => void reader?.cancel().catch(() => {}));
      for (;;) {
        heard = Date.now();
        const { value, done } = await reader.read();
        if (done) break;
        for (const { type, data, id } of parser.push(value)) {
          const event = JSON.parse(data);
          if (typeof event !== "object" || event === null) throw new TypeError("an event is not an object");
          if (id !== null && isRepeated(id, after)) continue;
          after = id ?? after;
          failed = 0; // an event came: the connection works
          if (type !== "message") event.event = type;
          yield Object.assign(event, { lastEventId: after });
          if (type === "end") return;
        }
        if (parser.retry !== null) wait = Math.min(parser.retry / 1000, 10);
      }
    } catch (error) {
      if (signal?.aborted) return;
    } finally {
      clearInterval(timer);
      signal?.removeEventListener("abort", leave);
      globalThis.document?.removeEventListener?.("visibilitychange", check);
      globalThis.removeEventListener?.("online", check);
      connection.abort();
    }
    response = undefined;
    if (signal?.aborted) return;
    if (++failed > attempts || url === null) {
      const code = url === null ? "connection-broken" : "connection-lost";
      yield { event: "problem", code, title: url === null ? "The connection broke." : "The server cannot be reached.", status: 0 };
      return yield { event: "end", status: "failed" };
    }
    const seconds = delay ?? Math.min(10, Math.max(wait, 0.1) * 2 ** (failed - 1)) * (0.75 + Math.random() / 2);
    delay = null;
    yield { event: "lost", attempt: failed, wait: seconds };
    await pause(seconds, signal);
  }
}

/**
 * Whether the event *id* was there before. Ids of a run are "run:number", and numbers grow. An event that another worker may have to generate
 * again has its position, too, "run.text.reasoning.others:number": then that counts, because the number may be used again.
 * @param {string} id @param {string} after
 */
function isRepeated(id, after) {
  const [one, last] = [split(id), split(after)];
  if (!one || !last || one.run !== last.run) return false;
  return one.position !== null && last.position !== null ? one.position <= last.position : one.number <= last.number;
}

/** @param {string} id */
function split(id) {
  const parts = /^(.+?)(?:\.(\d+)\.(\d+)\.(\d+))?:(\d+)$/.exec(id);
  const position = parts?.[2] === undefined ? null : Number(parts[2]) + Number(parts[3]) + Number(parts[4]);
  return parts && { run: parts[1], position, number: Number(parts[5]) };
}
