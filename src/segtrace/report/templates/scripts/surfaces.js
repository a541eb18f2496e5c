// --- surfaces: meshes turned and shaded on a canvas, triangles from back to front ----------------------
//
// The first pose, the light and the shading are those of the still pictures, which stand in for the
// canvas until it is drawn.

{
  const SHADES = 24, BUCKETS = 2048;

  const summed = (bytes) => {
    const values = new Uint16Array(bytes.length / 2);
    for (let i = 0, last = 0; i < values.length; i++) {
      last = (last + bytes[2 * i] + 256 * bytes[2 * i + 1]) & 65535;
      values[i] = last;
    }
    return values;
  };

  // One list of vertices in mm from the box's centre, as (right, towards the viewer, up) at pose 0, and triangles.
  const meshOf = async (view, { low, high }) => {
    const [places, corners] = (await Promise.all([unpacked(view.vertices), unpacked(view.triangles)])).map(summed);
    const count = places.length / 3;
    const mesh = { places: new Float32Array(count * 3), corners: new Uint32Array(corners.length), labels: new Uint8Array(corners.length / 3) };
    let vertex = 0, corner = 0;
    for (const { label, vertices, triangles } of view.parts) {
      for (let i = 0; i < vertices; i++) for (let axis = 0; axis < 3; axis++) {
        const share = places[vertex * 3 + axis * vertices + i] / 65535 - 0.5;
        mesh.places[(vertex + i) * 3 + axis] = share * (high[axis] - low[axis]) * (axis === 1 ? -1 : 1);
      }
      for (let i = 0; i < triangles * 3; i++) mesh.corners[corner + i] = corners[corner + i] + vertex;
      mesh.labels.fill(label, corner / 3, corner / 3 + triangles);
      vertex += vertices;
      corner += triangles * 3;
    }
    return mesh;
  };

  const shadesOf = (colours) => colours.map((hex) => {
    const ink = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return Array.from({ length: SHADES }, (_, s) => `rgb(${ink.map((v) => Math.round(v * s / (SHADES - 1))).join(" ")})`);
  });

  const paint = (canvas, mesh, shades, { turn, tilt, radius, light, unticked }) => {
    const context = canvas.getContext("2d");
    const half = canvas.width / 2, scale = half / radius;
    const a = turn * Math.PI / 180, t = tilt * Math.PI / 180;
    const [ca, sa, ct, st] = [Math.cos(a), Math.sin(a), Math.cos(t), Math.sin(t)];
    const { places, corners, labels } = mesh;
    const seen = new Float32Array(places.length);
    for (let i = 0; i < places.length; i += 3) {
      const near = places[i + 1] * ca - places[i] * sa, up = places[i + 2];
      seen[i] = places[i] * ca + places[i + 1] * sa;
      seen[i + 1] = up * ct - near * st;
      seen[i + 2] = near * ct + up * st;
    }
    const next = new Int32Array(labels.length), first = new Int32Array(BUCKETS).fill(-1), ink = new Uint8Array(labels.length);
    for (let f = 0; f < labels.length; f++) {
      if (unticked.has(labels[f])) continue;
      const [i, j, k] = [corners[3 * f] * 3, corners[3 * f + 1] * 3, corners[3 * f + 2] * 3];
      const [ux, uy, uz] = [seen[j] - seen[i], seen[j + 1] - seen[i + 1], seen[j + 2] - seen[i + 2]];
      const [vx, vy, vz] = [seen[k] - seen[i], seen[k + 1] - seen[i + 1], seen[k + 2] - seen[i + 2]];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      if (nz <= 0) continue;
      const lit = (nx * light[0] + ny * light[1] + nz * light[2]) / Math.hypot(nx, ny, nz);
      ink[f] = Math.round((0.3 + 0.7 * Math.min(Math.max(lit, 0), 1)) * (SHADES - 1));
      const depth = (seen[i + 2] + seen[j + 2] + seen[k + 2]) / 3;
      const bucket = Math.min(Math.max(Math.floor((depth / radius + 1) / 2 * BUCKETS), 0), BUCKETS - 1);
      next[f] = first[bucket];
      first[bucket] = f;
    }
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineWidth = 0.7;  // closes the hairlines between neighbours
    for (const start of first) for (let f = start; f >= 0; f = next[f]) {
      context.beginPath();
      for (let corner = 0; corner < 3; corner++) {
        const i = corners[3 * f + corner] * 3;
        context[corner ? "lineTo" : "moveTo"](half + seen[i] * scale, half - seen[i + 1] * scale);
      }
      context.closePath();
      context.fillStyle = context.strokeStyle = shades[labels[f]][ink[f]];
      context.fill();
      context.stroke();
    }
  };

  for (const root of document.querySelectorAll("[data-surfaces]")) {
    const turn = root.querySelector("[data-is=turn]"), tilt = root.querySelector("[data-is=tilt]");
    let content = null, shades = null, pose = null, asked = false;
    const open = () => {
      if (content) return;
      content = JSON.parse(root.querySelector("script").textContent);
      shades = shadesOf(content.colours);
      const size = Math.hypot(...content.light);
      const radius = Math.max(Math.hypot(...content.low.map((v, i) => content.high[i] - v)) / 2, 1e-6);
      pose = { turn: content.turn, tilt: content.tilt, radius, light: content.light.map((v) => v / size), unticked: new Set() };
    };
    const views = [...root.querySelectorAll("[data-view]")].map((place) => ({ place, visible: false, stale: true, mesh: null, canvas: null }));

    // As many as fit a frame, those under the reader's hand first; the rest in the frames that follow.
    const frame = () => {
      asked = false;
      const start = performance.now();
      for (const view of views) {
        if (!view.stale || !view.visible || !view.mesh) continue;
        if (performance.now() - start > 24) { ask(); return; }
        paint(view.canvas, view.mesh, shades, pose);
        view.stale = false;
      }
    };
    const ask = () => {
      if (!asked) requestAnimationFrame(frame);
      asked = true;
    };
    const pointed = (degrees, low, high) => `${Math.abs(degrees)} degrees ${degrees < 0 ? low : high}`;
    const set = (values) => {
      open();
      Object.assign(pose, values);
      pose.turn = ((pose.turn + 180) % 360 + 360) % 360 - 180;
      pose.tilt = Math.min(Math.max(pose.tilt, -90), 90);
      turn.value = pose.turn;
      tilt.value = pose.tilt;
      turn.setAttribute("aria-valuetext", pointed(Math.round(pose.turn), "to the left", "to the right"));
      tilt.setAttribute("aria-valuetext", pointed(Math.round(pose.tilt), "from below", "from above"));
      for (const view of views) view.stale = true;
      ask();
    };

    const show = async (view) => {
      open();
      const name = view.place.dataset.view;
      const image = view.place.querySelector("img");
      const mesh = await meshOf(content.views[name], content);
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 260 * Math.min(Math.max(devicePixelRatio || 1, 1), 2);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", image.alt);
      let from = null;
      canvas.addEventListener("pointerdown", (event) => {
        from = { x: event.clientX, y: event.clientY };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!from) return;
        const [x, y] = [event.clientX - from.x, event.clientY - from.y];
        from = { x: event.clientX, y: event.clientY };
        views.splice(views.indexOf(view), 1);
        views.unshift(view);
        set({ turn: pose.turn + x * 0.6, tilt: pose.tilt + y * 0.6 });
      });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
      paint(canvas, mesh, shades, pose);
      Object.assign(view, { mesh, canvas, stale: false });
      image.replaceWith(canvas);
    };

    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const view = views.find(({ place }) => place === entry.target);
        view.visible = entry.isIntersecting;
        if (!view.visible) continue;
        // where it cannot be unpacked, the still picture stays
        if (!view.asked) show(view).catch(() => {});
        view.asked = true;
        ask();
      }
    }, { rootMargin: "200px" });
    for (const { place } of views) watch.observe(place);
    turn.addEventListener("input", () => set({ turn: Number(turn.value) }));
    tilt.addEventListener("input", () => set({ tilt: Number(tilt.value) }));
    const ticks = [...root.querySelectorAll("[data-label]")];
    const tick = () => set({ unticked: new Set(ticks.filter((box) => !box.checked).map((box) => Number(box.dataset.label))) });
    for (const box of ticks) box.addEventListener("input", tick);
    root.querySelector("[data-is=reset]").addEventListener("click", () => {
      open();
      for (const box of ticks) box.checked = true;
      set({ turn: content.turn, tilt: content.tilt, unticked: new Set() });
    });
    root.querySelector(".bar").hidden = false;
  }
}
