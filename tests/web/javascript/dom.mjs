/** The part of the DOM that the front end uses to render, for node. Ways to make HTML from text throw. */

class Node { // a linked list, so that nothing here is slower than in a browser
  parentNode = null;
  firstChild = null;
  lastChild = null;
  nextSibling = null;
  previousSibling = null;
  get childNodes() {
    const nodes = [];
    for (let node = this.firstChild; node; node = node.nextSibling) nodes.push(node);
    return nodes;
  }
  append(...nodes) { for (const node of nodes) this.insertBefore(typeof node === "string" ? new Text(node) : node, null); }
  after(node) { this.parentNode.insertBefore(node, this.nextSibling); }
  replaceChild(node, old) { this.insertBefore(node, old); old.remove(); }
  removeChild(node) { node.remove(); }
  insertBefore(node, next) {
    if (!(node instanceof Node)) throw new TypeError(`not a node: ${node}`);
    node.remove();
    const previous = next ? next.previousSibling : this.lastChild;
    Object.assign(node, { parentNode: this, nextSibling: next, previousSibling: previous });
    if (previous) previous.nextSibling = node;
    else this.firstChild = node;
    if (next) next.previousSibling = node;
    else this.lastChild = node;
  }
  remove() {
    if (!this.parentNode) return;
    if (this.previousSibling) this.previousSibling.nextSibling = this.nextSibling;
    else this.parentNode.firstChild = this.nextSibling;
    if (this.nextSibling) this.nextSibling.previousSibling = this.previousSibling;
    else this.parentNode.lastChild = this.previousSibling;
    this.parentNode = this.nextSibling = this.previousSibling = null;
  }
  normalize() {
    for (let node = this.firstChild, next; node; node = next) {
      next = node.nextSibling;
      if (node.nodeType !== 3) node.normalize();
      else if (!node.data) node.remove();
      else for (; next?.nodeType === 3; next = node.nextSibling) { node.data += next.data; next.remove(); }
    }
  }
  get textContent() { return this.childNodes.map((node) => node.textContent).join(""); }
}

class Text extends Node {
  nodeType = 3;
  constructor(data) { super(); this.data = String(data); }
  appendData(data) { this.data += data; }
  get textContent() { return this.data; }
}

const ATTRIBUTES = new Set(["alt", "checked", "class", "dir", "disabled", "href", "loading", "referrerpolicy", "rel", "src", "start", "tabindex", "target", "title", "type"]);

class Element extends Node {
  nodeType = 1;
  attributes = new Map();
  constructor(name) { super(); this.localName = name; }
  setAttribute(name, value) {
    if (!ATTRIBUTES.has(name)) throw new Error(`attribute ${name}`);
    this.attributes.set(name, String(value));
  }
  addEventListener() {}
  set textContent(text) { for (const node of this.childNodes) node.remove(); this.append(text); }
  get textContent() { return super.textContent; }
  set innerHTML(_) { throw new Error("innerHTML"); }
  set outerHTML(_) { throw new Error("outerHTML"); }
  insertAdjacentHTML() { throw new Error("insertAdjacentHTML"); }
  cloneNode() { const copy = new Element(this.localName); for (const [name, value] of this.attributes) copy.setAttribute(name, value); return copy; }
  isEqualNode(other) { return other.nodeType === 1 && serialize(this) === serialize(other); }
}

/** A node as text: names, attributes in alphabetical order, escaped text. */
export function serialize(node) {
  if (node.nodeType === 3) return node.data.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const attributes = [...node.attributes].sort().map(([name, value]) => ` ${name}="${value.replace(/&/g, "&amp;").replace(/"/g, "&quot;")}"`).join("");
  return `<${node.localName}${attributes}>${node.childNodes.map(serialize).join("")}</${node.localName}>`;
}

/** All elements below a node. */
export const elements = (node) => node.childNodes.flatMap((child) => (child.nodeType === 1 ? [child, ...elements(child)] : []));

Text.prototype.cloneNode = function () { return new Text(this.data); };
Text.prototype.isEqualNode = function (other) { return other.nodeType === 3 && other.data === this.data; };
globalThis.document = { createElement: (name) => new Element(name), createTextNode: (data) => new Text(data) };
globalThis.requestAnimationFrame = (callback) => setTimeout(callback, 0);
