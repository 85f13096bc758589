"use strict";
// A press on a header sorts upwards, the next downwards, the third gives the rows back as they were.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const first = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  heads.forEach((head, column) => {
    head.setAttribute("aria-sort", "none");
    head.querySelector("button").addEventListener("click", () => {
      const order = next[head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const rows = order === "none" ? first : [...first].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
      body.append(...rows);
    });
  });
}
// Numbers before words, whichever way; words by the alphabet, with the numbers in them by size.
function compare(a, b, sign) {
  const x = a.dataset.key, y = b.dataset.key;
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
  if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}
// A link from a number opens what it leads to, and so does printing with everything.
function reveal() {
  const aim = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const fold = aim && aim.closest("details");
  if (fold && !fold.open) { fold.open = true; aim.scrollIntoView(); }
}
addEventListener("hashchange", reveal);
addEventListener("click", (press) => { if (press.target.closest("a")) setTimeout(reveal); });
reveal();
let folded = [];
addEventListener("beforeprint", () => {
  folded = Array.from(document.querySelectorAll("details:not([open])"));
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });
