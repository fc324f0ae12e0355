// Markdown of reports: headings, paragraphs, lists, tables and code. Other text is
// shown as it is. Pictures are left out: the page shows them above the report.

import { make } from "./dom.js";
import { table } from "./runs_tables.js";

function inline(text) {
  const found = [];
  for (const piece of text.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
    if (/^`[^`]+`$/.test(piece)) found.push(make("code", piece.slice(1, -1)));
    else if (/^\*\*.+\*\*$/.test(piece)) found.push(make("strong", piece.slice(2, -2)));
    else if (piece) found.push(piece);
  }
  return found;
}

// Cells end at bars, except escaped ones.
const cellsOf = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "")
  .split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

export function markdown(text) {
  const found = [];
  const lines = text.split(/\r?\n/);
  const special = (line) => /^(#{1,6} |```|\||[-*] |!\[|\s*$)/.test(line);
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    at += 1;
    const heading = /^(#{1,6}) (.*)$/.exec(line);
    if (heading) {
      // Below the headings of the page
      const level = Math.min(heading[1].length + 3, 6);
      found.push(make(`h${level}`, inline(heading[2])));
    } else if (line.startsWith("```")) {
      const code = [];
      while (at < lines.length && !lines[at].startsWith("```")) code.push(lines[at++]);
      at += 1;
      found.push(make("pre", code.join("\n"), { tabindex: "0" }));
    } else if (line.startsWith("|")) {
      const rows = [cellsOf(line)];
      while (at < lines.length && lines[at].startsWith("|")) {
        rows.push(cellsOf(lines[at++]));
      }
      const [heads, ...body] = rows.filter((cells) => (
        !cells.every((cell) => /^:?-+:?$/.test(cell))));
      if (heads) {
        found.push(table(`Table of the report: ${heads.join(", ")}`, heads.map(inline),
          body.map((cells) => cells.map((cell) => make("span", inline(cell))))));
      }
    } else if (/^[-*] /.test(line)) {
      const items = [line.slice(2)];
      while (at < lines.length && /^([-*] |\s+\S)/.test(lines[at])) {
        if (/^[-*] /.test(lines[at])) items.push(lines[at].slice(2));
        else items[items.length - 1] += ` ${lines[at].trim()}`;
        at += 1;
      }
      found.push(make("ul", items.map((item) => make("li", inline(item)))));
    } else if (line.trim() && !line.startsWith("![")) {
      const words = [line];
      while (at < lines.length && !special(lines[at])) words.push(lines[at++]);
      found.push(make("p", inline(words.join(" "))));
    }
  }
  // Below a heading of pictures only, nothing is left.
  const level = (element) => (
    Number(/^H([4-6])$/.exec(element?.tagName ?? "")?.[1] ?? 7));
  return found.filter((element, index) => (
    level(element) === 7 || level(element) < level(found[index + 1])));
}
