// Every table of the page: a click on a column's head sorts it, and a button below saves it as CSV, as it is shown.
"use strict";
(() => {
  const UNITS = { B: 1, kB: 1e3, MB: 1e6, MiB: 1048576, µs: 1e-3, ms: 1, s: 1e3, min: 6e4, h: 3.6e6 };
  const tidy = (text) => text.replace(/\s+/g, " ").trim();
  const noteOf = (cell) => tidy([...cell.querySelectorAll("small")].map((part) => part.textContent).join(" "));

  // What a cell says, without the note in small print.
  function said(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("small").forEach((part) => part.remove());
    copy.querySelectorAll("br").forEach((part) => part.replaceWith(" "));
    return tidy(copy.textContent);
  }

  // The number that a text begins with, in one unit for all: "−0.12", "5,600,000", "4.56 s", "3 min 20 s"; else null.
  function number(text) {
    let rest = text.replaceAll("−", "-").replace(/(\d),(?=\d{3})/g, "$1").replace(/^[×+]/, "");
    let total = null;
    for (;;) {
      const found = /^\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(µs|ms|s|min|h|B|kB|MB|MiB)?(?![\p{L}\d])/u.exec(rest);
      if (!found) return total;
      total = (total ?? 0) + Number(found[1]) * (UNITS[found[2]] ?? 1);
      if (!found[2]) return total;
      rest = rest.slice(found[0].length);
    }
  }

  function cellAt(row, column) {
    let start = 0;
    for (const cell of row.cells) {
      if (column < start + cell.colSpan) return cell;
      start += cell.colSpan;
    }
    return null;
  }

  // Up, down, and as it was.
  function sort(table, rows, column, head) {
    const orders = ["ascending", "descending", null];
    const order = orders[(orders.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    table.classList.toggle("sorted", order !== null); // rows leave those they belong to: names left out are shown
    if (order === null) return table.tBodies[0].append(...rows);
    head.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const keyed = rows.map((row) => {
      const text = said(cellAt(row, column));
      return { row, text, value: number(text), empty: text === "" || text === "–" };
    });
    keyed.sort((a, b) => {
      if (a.empty || b.empty) return a.empty - b.empty; // whatever the direction, what is missing comes last
      if (a.value !== null && b.value !== null) return sign * (a.value - b.value);
      if (a.value !== null || b.value !== null) return a.value === null ? 1 : -1;
      return sign * a.text.localeCompare(b.text);
    });
    table.tBodies[0].append(...keyed.map((entry) => entry.row));
  }

  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const plain = (text) => (/^[−+]?[\d,]+(\.\d+)?$/.test(text) ? text.replaceAll("−", "-").replace(/[+,]/g, "") : text);

  // Notes in small print have columns of their own, which the heads name in `data-note`.
  function csv(table) {
    const heads = [...table.tHead.rows[0].cells];
    const lines = [...table.rows].map((row) => {
      const cells = [];
      heads.forEach((head, column) => {
        const cell = cellAt(row, column);
        const first = column === 0 || cell !== cellAt(row, column - 1); // a cell of several columns is said once
        cells.push(first ? said(cell) : "");
        if (head.dataset.note) cells.push(cell === head ? `${said(head)}, ${head.dataset.note}` : first ? noteOf(cell) : "");
      });
      return cells.map(plain).map(quoted).join(",");
    });
    return `${lines.join("\n")}\n`;
  }

  function save(table) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    link.download = `${table.dataset.name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function button(name, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.addEventListener("click", action);
    return made;
  }

  for (const table of document.querySelectorAll("main table")) {
    const rows = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const sorting = button("sort", () => sort(table, rows, column, head));
      sorting.append(...head.childNodes);
      head.append(sorting);
    });
    const saving = button("save", () => save(table));
    saving.textContent = "Save as CSV";
    saving.setAttribute("aria-label", `Save as CSV: ${table.dataset.name}`);
    table.parentElement.after(saving);
  }
})();
