// --- chains: a number's link tells its chain which number it is; Escape or back returns to it ---------

{
  let origin = null;

  const leave = () => {
    const place = origin;
    origin = null;
    for (const asked of document.querySelectorAll(".asked")) asked.hidden = true;
    place?.focus();
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.number");
    const chain = link && document.getElementById(link.hash.slice(1));
    if (!chain) return;
    leave();
    origin = link;
    const { table = "summary", row, column = "mean" } = link.dataset;
    const asked = chain.closest(".chain").querySelector(".asked");
    const file = `${asked.dataset.folder}/${table}.csv`;
    asked.querySelector(".value").textContent = link.textContent;
    asked.querySelector(".cell").textContent = `${file}, row ${row}, column ${column}`;
    asked.querySelector(".command").textContent = `segtrace explain ${file} --row ${row} --column ${column}`;
    asked.hidden = false;
    setTimeout(() => chain.focus({ preventScroll: true }));
  });

  document.addEventListener("click", (event) => { if (event.target.closest(".asked button")) history.back(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && origin && event.target.closest(".chain")) history.back();
  });
  addEventListener("popstate", () => { if (origin && location.hash !== origin.hash) leave(); });
}
