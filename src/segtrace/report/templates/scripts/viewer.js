// --- viewer: slices of volumes with the labels of the reference and of one method ----------------------
//
// Arrays are (z, y, x) in anatomical order: x to the left, y back, z up. A case is unpacked when it is shown.

for (const root of document.querySelectorAll("[data-viewer]")) {
  const scripts = [...document.querySelectorAll("script[data-slices]")];
  const part = (name) => root.querySelector(`[data-is="${name}"]`);
  const chosen = { case: part("case"), method: part("method"), plane: part("plane"), style: part("style"),
                   beside: part("beside"), opacity: part("opacity"), black: part("black"), white: part("white"),
                   place: part("place") };
  const told = root.querySelector("[data-slice]"), pair = root.querySelector(".pair");
  const canvases = [...root.querySelectorAll("canvas")];
  const opened = new Map();
  let turn = 0;  // counts requests, so that a slow one never draws over a later one

  const caseOf = (index) => {
    if (!opened.has(index)) {
      const { slices, said } = JSON.parse(scripts[index].textContent);
      const arrays = new Map();
      const array = (name, packed) => {
        if (!arrays.has(name)) arrays.set(name, unpacked(packed));
        return arrays.get(name);
      };
      let grey = null;
      opened.set(index, {
        ...slices,
        said,
        places: [...slices.start],
        mask: (method) => method === "" ? array("reference", slices.reference) : array(`method ${method}`, slices.methods[method]),
        greys: () => grey ??= unpacked(slices.grey).then((values) => {
          const width = slices.shape[2];
          for (let i = 0; i < values.length; i++) if (i % width) values[i] = (values[i] + values[i - 1]) & 255;
          return values;
        }),
      });
    }
    return opened.get(index);
  };

  // Rows, columns and the place of a pixel of a slice; coronal and sagittal slices have superior up.
  const cutOf = (shape, plane, place) => {
    const [depth, height, width] = shape;
    if (plane === 0) return { rows: height, columns: width, at: (r, c) => (place * height + r) * width + c };
    if (plane === 1) return { rows: depth, columns: width, at: (r, c) => ((depth - 1 - r) * height + place) * width + c };
    return { rows: depth, columns: height, at: (r, c) => ((depth - 1 - r) * height + c) * width + place };
  };

  const small = document.createElement("canvas");
  const painted = (cut, put) => {
    small.width = cut.columns;
    small.height = cut.rows;
    const image = new ImageData(cut.columns, cut.rows);
    for (let r = 0, i = 0; r < cut.rows; r++) for (let c = 0; c < cut.columns; c++, i += 4) put(image.data, i, cut.at(r, c));
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  };

  const colourOf = (label) => [1, 3, 5].map((i) => parseInt(label.colour.slice(i, i + 2), 16));
  const paleOf = (label) => `rgb(${colourOf(label).map((v) => Math.round(255 - (255 - v) * 0.35)).join(" ")})`;

  // The borders of the voxels of each label, exactly: no smoothing.
  const lines = (context, cut, mask, labels, scale, { width, stroke }) => {
    const [sx, sy] = scale;
    for (const label of labels) {
      const is = (r, c) => r >= 0 && c >= 0 && r < cut.rows && c < cut.columns && mask[cut.at(r, c)] === label.value;
      context.beginPath();
      for (let r = 0; r < cut.rows; r++) for (let c = 0; c < cut.columns; c++) if (is(r, c)) {
        if (!is(r - 1, c)) { context.moveTo(c * sx, r * sy); context.lineTo((c + 1) * sx, r * sy); }
        if (!is(r + 1, c)) { context.moveTo(c * sx, (r + 1) * sy); context.lineTo((c + 1) * sx, (r + 1) * sy); }
        if (!is(r, c - 1)) { context.moveTo(c * sx, r * sy); context.lineTo(c * sx, (r + 1) * sy); }
        if (!is(r, c + 1)) { context.moveTo((c + 1) * sx, r * sy); context.lineTo((c + 1) * sx, (r + 1) * sy); }
      }
      context.lineCap = "square";
      context.strokeStyle = "rgb(0 0 0 / 60%)";
      context.lineWidth = width * 2;
      context.stroke();
      context.strokeStyle = stroke(label);
      context.lineWidth = width;
      context.stroke();
    }
  };

  const seen = (cut, mask, labels) => {
    const values = new Set();
    for (let r = 0; r < cut.rows; r++) for (let c = 0; c < cut.columns; c++) values.add(mask[cut.at(r, c)]);
    return labels.filter((label) => values.has(label.value)).map((label) => label.name.replaceAll("_", " ")).join(", ") || "no label";
  };

  const numberOf = (of, plane) => Math.min(of.first[plane] + of.places[plane] * of.steps[plane] + 1, of.full[plane]);

  const draw = async () => {
    const mine = ++turn;
    const of = caseOf(Number(chosen.case.value));
    const plane = Number(chosen.plane.value), method = chosen.method.value;
    const shown = method in of.methods ? of.mask(method) : Promise.resolve(null);
    const [grey, reference, prediction] = await Promise.all([of.greys(), of.mask(""), shown]);
    if (mine !== turn) return;
    const cut = cutOf(of.shape, plane, of.places[plane]);
    const across = of.spacing[plane === 2 ? 1 : 2], down = of.spacing[plane === 0 ? 1 : 0];
    const wide = cut.columns * across, high = cut.rows * down;
    const black = Number(chosen.black.value), white = Math.max(Number(chosen.white.value), black + 1);
    const bright = Uint8ClampedArray.from({ length: 256 }, (_, v) => 255 * (v - black) / (white - black));
    const style = chosen.style.value, opacity = chosen.opacity.value / 100;
    canvases.forEach((canvas, side) => {
      const mask = side ? prediction : reference;
      const room = canvas.parentElement.clientWidth;
      const factor = Math.min(room / wide, 520 / high);
      const dense = Math.min(devicePixelRatio || 1, 2);
      canvas.style.width = `${Math.round(wide * factor)}px`;
      canvas.width = Math.max(1, Math.round(wide * factor * dense));
      canvas.height = Math.max(1, Math.round(high * factor * dense));
      const context = canvas.getContext("2d");
      context.drawImage(painted(cut, (data, i, at) => {
        data[i] = data[i + 1] = data[i + 2] = bright[grey[at]];
        data[i + 3] = 255;
      }), 0, 0, canvas.width, canvas.height);
      if (mask === null) return;
      const scale = [canvas.width / cut.columns, canvas.height / cut.rows];
      if (style === "filled" || style === "both") {
        const inks = new Map(of.labels.map((label) => [label.value, colourOf(label)]));
        context.globalAlpha = opacity;
        context.imageSmoothingEnabled = false;
        context.drawImage(painted(cut, (data, i, at) => {
          const ink = inks.get(mask[at]);
          if (ink) data.set([...ink, 255], i);
        }), 0, 0, canvas.width, canvas.height);
        context.globalAlpha = 1;
      }
      if (side && chosen.beside.checked && style !== "none") {
        lines(context, cut, reference, of.labels, scale, { width: 1.2 * dense, stroke: paleOf });
      }
      if (style === "lines" || style === "both") {
        lines(context, cut, mask, of.labels, scale, { width: 1.8 * dense, stroke: side ? (label) => label.colour : paleOf });
      }
    });
    const name = of.planes[plane];
    const count = `${name[0].toUpperCase()}${name.slice(1)} slice ${numberOf(of, plane)} of ${of.full[plane]}`;
    const there = prediction === null ? "its prediction is not on this machine" : seen(cut, prediction, of.labels);
    const sides = [`Reference: ${seen(cut, reference, of.labels)}`, `${method}: ${there}`];
    told.textContent = `${count}. ${sides.join(". ")}.`;
    canvases.forEach((canvas, side) => canvas.setAttribute("aria-label", `${count}. ${sides[side]}`));
    part("right").textContent = `${method}: ${of.dice[method]}`;
    part("said").textContent = of.said;
    const value = (v) => Number((of.low + (of.high - of.low) * v / 255).toPrecision(4));
    for (const [name, v] of [["black", black], ["white", white]]) {
      chosen[name].setAttribute("aria-valuetext", `${value(v)}`);
      part(`${name}-value`).textContent = value(v);
    }
    chosen.opacity.setAttribute("aria-valuetext", `${chosen.opacity.value} per cent`);
    chosen.place.setAttribute("aria-valuetext", `${numberOf(of, plane)} of ${of.full[plane]}`);
    root.dataset.shown = "yes";
  };
  const again = () => draw().catch((error) => { told.textContent = `The slices cannot be shown (${error}).`; });

  const settle = () => {
    const of = caseOf(Number(chosen.case.value)), plane = Number(chosen.plane.value);
    const before = chosen.method.value;
    chosen.method.replaceChildren(...Object.keys(of.dice).map((method) => new Option(method, method)));
    if (before in of.dice) chosen.method.value = before;
    chosen.place.max = of.shape[plane] - 1;
    chosen.place.value = of.places[plane];
    again();
  };
  const go = (place) => {
    const of = caseOf(Number(chosen.case.value)), plane = Number(chosen.plane.value);
    of.places[plane] = Math.min(Math.max(place, 0), of.shape[plane] - 1);
    chosen.place.value = of.places[plane];
    again();
  };

  chosen.place.addEventListener("input", () => go(Number(chosen.place.value)));
  for (const name of ["method", "style", "beside", "opacity", "black", "white"]) chosen[name].addEventListener("input", again);
  chosen.plane.addEventListener("input", settle);
  chosen.case.addEventListener("input", () => {
    chosen.plane.value = caseOf(Number(chosen.case.value)).plane;
    settle();
  });
  pair.addEventListener("keydown", (event) => {
    const now = Number(chosen.place.value), last = Number(chosen.place.max);
    const next = { ArrowUp: now + 1, ArrowRight: now + 1, ArrowDown: now - 1, ArrowLeft: now - 1,
                   PageUp: now + 10, PageDown: now - 10, Home: 0, End: last }[event.key];
    if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(next);
  });
  // A drag to the side leafs through the slices; up and down it scrolls the page as everywhere.
  let from = null;
  pair.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, place: Number(chosen.place.value) };
    pair.setPointerCapture(event.pointerId);
  });
  pair.addEventListener("pointermove", (event) => {
    if (from) go(from.place + Math.round((event.clientX - from.x) / 8));
  });
  for (const end of ["pointerup", "pointercancel"]) pair.addEventListener(end, () => { from = null; });

  root.hidden = false;
  let width = 0;
  addEventListener("resize", () => {
    if (pair.clientWidth !== width && root.dataset.shown) again();
    width = pair.clientWidth;
  });
  new IntersectionObserver((entries, watch) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      watch.disconnect();
      settle();
    }
  }, { rootMargin: "400px" }).observe(root);
}
