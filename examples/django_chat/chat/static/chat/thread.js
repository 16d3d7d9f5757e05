/** The page of a thread. `Chat` of hfclient sends and shows answers; this adds edits, chosen files, and the server's page after an answer. */
import { Chat, render } from "../hfclient/hfclient.js";

const root = document.querySelector("main");
const log = document.getElementById("messages");
const chosen = document.getElementById("chosen");
const files = document.querySelector("[name=files]");

/** Show the answers that the page brought as text. */
function show() {
  for (const element of log.querySelectorAll('[data-text=""]')) {
    element.dataset.text = element.textContent;
    element.replaceChildren(...render(element.textContent));
  }
}

/** Take parts of the page as the server has them now: new messages have ids, files and versions there. */
async function refresh(...ids) {
  const response = await fetch(root.dataset.url);
  if (!response.ok || chat.isBusy) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const isAtEnd = innerHeight + scrollY > document.documentElement.scrollHeight - 60;
  document.title = page.title;
  for (const id of ids) document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
  show();
  if (isAtEnd) scrollTo({ top: document.documentElement.scrollHeight });
}

show();
const chat = new Chat(root);
chat.form.querySelector("[type=submit]").disabled = false; // without the script nothing would send the form

root.addEventListener("hfclient:event", ({ detail }) => {
  history.replaceState(null, "", root.dataset.url); // a new thread has its page now
  if (detail.event !== "end") return;
  const parts = detail.status === "failed" ? [] : ["messages"]; // an error stays
  setTimeout(() => refresh("threads", "title", "menu", ...parts));
});

log.addEventListener("submit", (event) => {
  if (!event.target.matches(".edit")) return;
  event.preventDefault();
  if (chat.isBusy) return;
  const data = new FormData(event.target);
  const message = event.target.closest(".below").previousElementSibling;
  while (message.nextSibling) message.nextSibling.remove();
  message.remove();
  chat.send(data);
});

log.addEventListener("click", async ({ target }) => {
  if (target.matches("[data-retry]")) chat.retry();
  if (!target.matches("[data-copy]")) return;
  await navigator.clipboard.writeText(target.closest("article").querySelector(":scope > .markdown").dataset.text);
  target.textContent = "Copied";
});

// The chosen files, each as a button that removes it.
function list() {
  chosen.replaceChildren(
    ...[...files.files].map((file) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: `× ${file.name}`, ariaLabel: `Remove ${file.name}` });
      button.addEventListener("click", () => {
        const kept = new DataTransfer();
        for (const other of files.files) if (other !== file) kept.items.add(other);
        files.files = kept.files;
        list();
      });
      return button;
    }),
  );
}
files.addEventListener("change", list);
chat.form.addEventListener("reset", () => setTimeout(list));
