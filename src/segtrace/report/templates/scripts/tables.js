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
