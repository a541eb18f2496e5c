// --- tables: a heading sorts its column, numbers by value, unknown ones last -------------------------

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell === undefined ? "" : cell.dataset.order ?? cell.textContent.trim();
}

function compare(one, other) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const a = Number(one), b = Number(other);
  return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, "en", { numeric: true }) : a - b;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows];
      rows.sort((one, other) => {
        const a = keyOf(one, column), b = keyOf(other, column);
        const unknown = a === "" || b === "";
        return compare(a, b) * (descending && !unknown ? -1 : 1);
      });
      body.append(...rows);
    });
  });
}

// --- filters: methods, labels and metrics of the results' tables; what is shown is told ---------------

{
  const filters = document.querySelector(".filters");
  const blocks = [...document.querySelectorAll(".of-label")];
  const boxes = [...filters.querySelectorAll("input[type=checkbox]")];
  const text = filters.querySelector("input[type=search]");
  const chosen = (name) => {
    const all = boxes.filter((box) => box.name === name);
    return { all: all.length, on: new Set(all.filter((box) => box.checked).map((box) => box.value)) };
  };
  const part = (count, all, word) => `${count} of ${all} ${word}${all === 1 ? "" : "s"}`;

  function show(table, methods, metrics) {
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.dataset.methods.split(" ").every((method) => methods.has(method))
        || (row.dataset.metric !== undefined && !metrics.has(row.dataset.metric));
    }
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (heading.dataset.metric === undefined) return;
      const hidden = !metrics.has(heading.dataset.metric);
      for (const row of table.rows) row.cells[column].hidden = hidden;
    });
  }

  function apply() {
    const words = text.value.trim().toLowerCase();
    const labels = chosen("label"), metrics = chosen("metric"), methods = chosen("method");
    const on = new Set([...methods.on].filter((method) => method.toLowerCase().includes(words)));
    for (const block of blocks) {
      block.hidden = labels.all > 0 && !labels.on.has(block.dataset.label);
      for (const table of block.querySelectorAll("table[data-filtered]")) show(table, on, metrics.on);
    }
    const shown = blocks.filter((block) => !block.hidden);
    const rows = shown.flatMap((block) => [...block.querySelector("table").tBodies[0].rows]);
    filters.querySelector(".status").textContent = `Shown: ${part(on.size, methods.all, "method")}, `
      + `${part(shown.length, blocks.length, "label")} and ${part(metrics.on.size, metrics.all, "metric")}; `
      + `${rows.filter((row) => !row.hidden).length} rows in the tables of means.`;
  }

  filters.hidden = false;
  filters.addEventListener("input", apply);
  filters.querySelector(".everything").addEventListener("click", () => {
    text.value = "";
    for (const box of boxes) box.checked = true;
    apply();
  });
  apply();
}
