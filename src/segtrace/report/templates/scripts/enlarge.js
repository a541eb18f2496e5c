// --- enlarge: a picture of the panel opens in a dialog; arrow keys go on to its neighbours --------------

{
  const dialog = document.getElementById("enlarged");
  const buttons = [...document.querySelectorAll("button.enlarge")];
  if (dialog && buttons.length) {
    const place = dialog.querySelector(".large"), text = document.getElementById("enlarged-text");
    const zoom = dialog.querySelector("input");
    let at = 0;

    const show = (index) => {
      at = (index + buttons.length) % buttons.length;
      const picture = buttons[at].querySelector("svg");
      const copy = picture.cloneNode(true);
      for (const part of copy.querySelectorAll("[id]")) part.removeAttribute("id");
      place.replaceChildren(copy);
      const { width, height } = picture.viewBox.baseVal;
      copy.style.aspectRatio = `${width} / ${height}`;
      text.textContent = picture.getAttribute("aria-label");
      fit();
    };
    const fit = () => {
      const copy = place.firstElementChild;
      const { width, height } = copy.viewBox.baseVal;
      const scale = Math.min(place.clientWidth / width, innerHeight * 0.7 / height) * zoom.value / 100;
      copy.style.width = `${width * scale}px`;
      zoom.setAttribute("aria-valuetext", `${zoom.value} per cent`);
    };

    buttons.forEach((button, index) => button.addEventListener("click", () => {
      dialog.showModal();
      zoom.value = 100;
      show(index);
    }));
    zoom.addEventListener("input", fit);
    dialog.addEventListener("click", (event) => {
      const pressed = event.target.closest("button");
      if (pressed?.dataset.step) show(at + Number(pressed.dataset.step));
      else if (pressed || event.target === dialog) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      // a zoomed picture is moved by the arrow keys instead, and the slider has its own
      if (!step || event.target === zoom || (event.target === place && zoom.value > 100)) return;
      event.preventDefault();
      show(at + step);
    });
    dialog.addEventListener("close", () => buttons[at].focus());
    addEventListener("resize", () => { if (dialog.open) fit(); });
  }
}
