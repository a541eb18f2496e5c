// --- charts: drawn once the page is shown, in its colours ----------------------------------

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function configuration() {
  const ink = colour("--ink"), quiet = colour("--quiet"), line = colour("--line");
  const font = getComputedStyle(document.body).fontFamily;
  return {
    background: "transparent",
    font,
    view: { stroke: null },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: quiet,
            labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12 },
    tick: { color: ink },
    rule: { color: ink },
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

async function draw(place) {
  const { spec, rows } = JSON.parse(contents.get(place.id).textContent);
  spec.datasets = { ...spec.datasets, rows: rowsOf(rows) };
  spec.config = configuration();
  const many = spec.datasets.rows.length > 1500;
  // ast: expressions are interpreted, so that no text is ever evaluated as code.
  await vegaEmbed(place, spec, { actions: false, ast: true, renderer: many ? "canvas" : "svg" });
  place.dataset.drawn = "yes";
}

const places = [...document.querySelectorAll(".chart")];

// One after the other, giving way to the reader in between.
async function drawAll() {
  for (const place of places) {
    await draw(place).catch((error) => {
      place.textContent = `This chart cannot be drawn (${error}); its numbers are in the tables.`;
    });
    await new Promise((resolve) => setTimeout(resolve));
  }
}
setTimeout(drawAll);
document.addEventListener("segtrace:colours", drawAll);
