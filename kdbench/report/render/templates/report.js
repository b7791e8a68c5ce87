// Everything but sorting and copying a table works without this script.
(() => {
  "use strict";

  const status = document.getElementById("status");
  const NOTHING = /^(n\/a\b.*|–|)$/s;

  const say = (text) => {
    status.textContent = "";
    setTimeout(() => { status.textContent = text; }, 50); // a pause, so that screen readers repeat the same text
  };

  const words = (cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("sup, .interval").forEach((node) => node.remove());
    return copy.textContent.trim();
  };

  const nothing = (cell) => cell.dataset.value === undefined && NOTHING.test(words(cell));

  // Numbers by their value in the base unit, words by the alphabet; what is missing comes last either way.
  const compare = (index, sign) => (one, other) => {
    const [a, b] = [one.cells[index], other.cells[index]];
    if (nothing(a) || nothing(b)) return nothing(a) - nothing(b);
    const [x, y] = [a.dataset.value, b.dataset.value];
    if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
    return sign * words(a).localeCompare(words(b), "en", { numeric: true });
  };

  const sort = (table, head) => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    table.tHead.querySelectorAll("[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare(head.cellIndex, ascending ? 1 : -1)));
    say(`Sorted by ${head.textContent}, ${ascending ? "ascending" : "descending"}`);
  };

  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // Values in the base unit, which the head names, with low and high of columns that have intervals.
  const csv = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const spread = heads.map((head, index) => rows.some((row) => row.cells[index].dataset.low !== undefined));
    const first = heads.flatMap((head, index) => {
      const name = head.textContent.trim() + (head.dataset.unit ? ` [${head.dataset.unit}]` : "");
      return spread[index] ? [name, `${name}, low`, `${name}, high`] : [name];
    });
    const lines = rows.map((row) => [...row.cells].flatMap((cell, index) => {
      const { value, low, high } = cell.dataset;
      return spread[index] ? [value ?? words(cell), low ?? "", high ?? ""] : [value ?? words(cell)];
    }));
    return [first, ...lines].map((line) => line.map(quoted).join(",") + "\n").join("");
  };

  const box = (text, tools, name) => {
    const area = document.createElement("textarea");
    area.className = "by-hand";
    area.readOnly = true;
    area.value = text;
    area.setAttribute("aria-label", `${name} as CSV`);
    tools.nextElementSibling?.matches(".by-hand") && tools.nextElementSibling.remove();
    tools.after(area);
    area.select();
    return area;
  };

  // A page from a disk may have no clipboard: then the old way, and where that fails too, the text to copy by hand.
  const copy = async (table, tools, button) => {
    const text = csv(table);
    const name = table.caption.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = box(text, tools, name);
      if (!document.execCommand("copy")) {
        say(`${name}: copy the marked text`);
        return;
      }
      area.remove();
      button.focus();
    }
    say(`Copied ${name} as CSV`);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy as CSV"; }, 2000);
  };

  const equip = (table) => {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
    const tools = document.createElement("div");
    tools.className = "tools";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy as CSV";
    button.setAttribute("aria-describedby", table.caption.id);
    button.addEventListener("click", () => copy(table, tools, button));
    tools.append(button);
    table.parentElement.before(tools);
  };

  document.querySelectorAll("table").forEach(equip);

  // Browsers without ::details-content print what is folded folded.
  const folded = () => document.querySelectorAll("main details:not([open])");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folded()];
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
})();
