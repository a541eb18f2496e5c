// --- charts: drawn once the page is shown, in its colours ----------------------------------

// Pictures made of elements follow the page's colours by themselves, on paper too; those of pixels are drawn anew.
function configuration(pixels) {
  const colour = (name) =>
    pixels ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : `var(${name})`;
  const ink = colour("--ink"), quiet = colour("--quiet"), line = colour("--line");
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: quiet,
            labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, symbolFillColor: quiet, symbolStrokeColor: quiet },
    // The description names the chart, the table below lists its numbers: no name for each of a thousand points.
    mark: { aria: false },
    rule: { color: ink },
    title: { color: ink },
    style: { ink: { color: ink, fill: ink }, band: { color: quiet, fill: quiet } },
  };
}

function rowsOf(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}

const contents = new Map();
for (const script of document.querySelectorAll("script[data-chart]")) {
  contents.set(script.dataset.chart, script);
}
const contentOf = (name) => JSON.parse(contents.get(name).textContent);

// More points than this are drawn as pixels, which is quicker.
const MANY = 1500;

async function draw(place) {
  const { spec, rows } = contentOf(place.id);
  spec.datasets = { ...spec.datasets, rows: rowsOf(rows) };
  const many = spec.datasets.rows.length > MANY;
  spec.config = configuration(many);
  try {
    // ast: expressions are interpreted, so that no text is ever evaluated as code.
    await vegaEmbed(place, spec, { actions: false, ast: true, renderer: many ? "canvas" : "svg" });
    place.dataset.drawn = "yes";
    place.dataset.as = many ? "pixels" : "elements";
  } catch (error) {
    place.textContent = `This chart cannot be drawn (${error}); its numbers are below.`;
  }
}

const places = [...document.querySelectorAll(".chart")];
const folded = (place) => place.closest("details:not([open])") !== null;

// One after the other, giving way to the reader in between. What is folded has no width, and waits.
async function drawAll(wanted) {
  for (const place of places) {
    if (!folded(place) && wanted(place)) {
      await draw(place);
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
}
const undrawn = (place) => place.dataset.drawn === undefined;

setTimeout(() => drawAll(undrawn));
document.addEventListener("segtrace:colours", () => drawAll((place) => place.dataset.as === "pixels"));
for (const details of document.querySelectorAll("details.more")) {
  details.addEventListener("toggle", () => drawAll((place) => undrawn(place) && details.contains(place)));
}

// --- the numbers of a chart, as a table that is made when it is asked for -----------------------------

function valueTable(name) {
  const { rows, columns } = contentOf(name);
  const table = document.createElement("table");
  const headings = table.createTHead().insertRow();
  for (const [, heading] of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = heading;
    headings.append(cell);
  }
  const body = table.createTBody();
  for (const row of rowsOf(rows)) {
    const line = body.insertRow();
    for (const [field] of columns) line.insertCell().textContent = row[field] ?? "–";
  }
  const region = document.createElement("div");
  region.className = "scroll tall";
  region.role = "region";
  region.tabIndex = 0;
  region.ariaLabel = `The numbers of ${name}`;
  region.append(table);
  return region;
}

for (const details of document.querySelectorAll("details.values")) {
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(valueTable(details.dataset.values));
  });
}
