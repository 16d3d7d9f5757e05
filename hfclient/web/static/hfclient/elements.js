/** Elements without HTML: what text can become, and how a changed part of a page is replaced. */

/** Create an element. @param {string} tag @param {Record<string, any>} [attributes] @param {...any} children Nodes, strings, lists of them. @returns {any} */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  for (const child of children.flat()) node.append(child);
  return node;
}

/**
 * The URL as the browser would open it, or null unless it is an absolute one of http, https or mailto, without user name. `new URL`
 * removes what browsers ignore (tabs, newlines, control characters), so that "java\nscript:" does not pass.
 * @param {string} text
 */
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) && !url.username && !url.password ? url.href : null;
  } catch {
    return null;
  }
}

/** A link that opens in a new tab, or null. @param {string} address @param {string} [label] */
export function link(address, label) {
  const href = safeUrl(address);
  return href && el("a", { href, title: href, rel: "noopener noreferrer nofollow", target: "_blank" }, label ?? []);
}

/** @param {() => string} text */
export function copyButton(text) {
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text()); // undefined on http:// pages of other hosts than localhost
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return button;
}

/** Make the children from *old* on equal to *nodes*; what is equal stays: a selection, a focus, a scrolled block. @param {Element} parent @param {Node | null} old @param {Node[]} nodes */
export function patch(parent, old, nodes) {
  for (const node of nodes) {
    const following = old?.nextSibling ?? null;
    if (!old) parent.append(node);
    else if (old.nodeType === 3 && node.nodeType === 3) {
      const before = /** @type {Text} */ (old),
        after = /** @type {Text} */ (node).data;
      if (after.startsWith(before.data)) before.appendData(after.slice(before.data.length));
      else before.data = after;
    } else if (old.cloneNode(false).isEqualNode(node.cloneNode(false))) {
      const isButton = /** @type {Element} */ (old).localName === "button"; // its text changes when it is used
      if (!isButton) patch(/** @type {Element} */ (old), old.firstChild, [...node.childNodes]);
    } else parent.replaceChild(node, old);
    old = following;
  }
  while (old) {
    const following = old.nextSibling;
    parent.removeChild(old);
    old = following;
  }
}
