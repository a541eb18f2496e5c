// --- colours: those of the system, until the reader chooses; kept where there is storage --------------
//
// Whatever draws in the page's colours listens to the document's event "segtrace:colours", which is sent
// when the system or the reader has changed them, and reads the custom properties (--ink, --line, …) anew.

{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = (act) => { try { return act(localStorage); } catch { return null; } };
  const known = (value) => ["dark", "light"].includes(value);

  const chosen = kept((storage) => storage.getItem("segtrace-colours"));
  if (known(chosen)) root.dataset.colours = chosen;

  const dark = () => (root.dataset.colours ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => {
    document.getElementById("colours")?.setAttribute("aria-pressed", String(dark()));
    document.dispatchEvent(new Event("segtrace:colours"));
  };

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("colours");
    button.hidden = false;
    button.setAttribute("aria-pressed", String(dark()));
    button.addEventListener("click", () => {
      root.dataset.colours = dark() ? "light" : "dark";
      kept((storage) => storage.setItem("segtrace-colours", root.dataset.colours));
      tell();
    });
  });
  system.addEventListener("change", () => { if (!known(root.dataset.colours)) tell(); });
}
