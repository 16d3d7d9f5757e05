// Renders a list of Markdown texts with marked, the renderer of JupyterLab: JSON in, JSON out.
import { readFileSync } from "node:fs";
import { marked } from "marked";

const texts = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(JSON.stringify(texts.map((text) => marked.parse(text, { gfm: true }))));
