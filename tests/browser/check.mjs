// Opens pages from disk in the system's Chromium, with the network off, and checks what readers rely on.
//
//   node check.mjs OUT.json MODULES CHROMIUM PAGE…
//
// MODULES is the folder with playwright-core and axe-core (make test-browser fills it). OUT.json becomes a list
// of {page, check, passed, figure}. With --paint alone before OUT.json, only the first paint is measured.
// Screenshots and a print go to folder OUT.json without its ending.

import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const words = process.argv.slice(2);
const paintOnly = words[0] === "--paint";
const [out, modules, executablePath, ...pages] = paintOnly ? words.slice(1) : words;
const require = createRequire(resolve(modules, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const pictures = out.replace(/\.json$/, "");
mkdirSync(pictures, { recursive: true });

const WIDTHS = [390, 1024, 1920];
const found = [];
let current = "";

function note(check, passed, figure = "") {
  found.push({ page: current, check, passed: Boolean(passed), figure: String(figure) });
}

/** Run one check; what throws has failed. `act` gives [passed, figure]. */
async function check(name, act) {
  try {
    note(name, ...(await act()));
  } catch (error) {
    note(name, false, String(error).split("\n")[0]);
  }
}

async function open(browser, file, options = {}) {
  const context = await browser.newContext({ offline: true, viewport: { width: 1024, height: 900 }, ...options });
  const page = await context.newPage();
  const url = pathToFileURL(resolve(file)).href;
  const seen = { errors: [], requests: [] };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.errors.push(message.text());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("request", (request) => {
    if (request.url().split("#")[0] !== url && !/^(data|blob):/.test(request.url())) seen.requests.push(request.url());
  });
  await page.goto(url, { waitUntil: "load" });
  return { context, page, seen };
}

/** Bring every chart into view, so that one that is drawn late is drawn; gives how many lack a drawing. */
async function drawCharts(page) {
  const count = await page.locator(".chart").count();
  let missing = 0;
  for (let i = 0; i < count; i++) {
    const chart = page.locator(".chart").nth(i);
    if (!(await chart.isVisible())) continue;
    await chart.scrollIntoViewIfNeeded();
    await chart.locator("svg, canvas").first().waitFor({ timeout: 20000 }).catch(() => { missing += 1; });
  }
  return { count, missing };
}

/** Milliseconds to the first paint and the first content, in a fresh context. */
async function paint(browser, file) {
  const { context, page } = await open(browser, file);
  await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
  const times = await page.evaluate(() => {
    const at = (name) => performance.getEntriesByName(name)[0]?.startTime ?? NaN;
    return { paint: at("first-paint"), content: at("first-contentful-paint"),
             loaded: performance.getEntriesByType("navigation")[0].loadEventEnd };
  });
  await context.close();
  return times;
}

async function tables(page) {
  const first = page.locator("#results table.sortable").first();
  const orders = () => first.evaluate((table) => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.order)
    .filter((text) => text !== "").map(Number));
  const rows = await first.locator("tbody tr").count();
  await check("sorting by keyboard", async () => {
    const button = first.locator("thead button").nth(1);
    await button.focus();
    await page.keyboard.press("Enter");
    const up = await orders(), word = await button.locator("xpath=..").getAttribute("aria-sort");
    await page.keyboard.press("Space");
    const down = await orders();
    const rising = (list) => list.every((value, i) => i === 0 || list[i - 1] <= value);
    return [word === "ascending" && rising(up) && rising([...down].reverse()), `${rows} rows`];
  });
  const status = page.locator(".filters [role=status]");
  const shown = () => page.locator("#results table[data-filtered]").first().locator("tbody tr:not([hidden])").count();
  await check("filters by keyboard, told to screen readers", async () => {
    await page.locator(".filters summary").focus();
    await page.keyboard.press("Enter");
    const before = await status.textContent();
    const live = await status.getAttribute("aria-live");
    await page.locator(".filters input[type=search]").focus();
    await page.keyboard.type("no such method");
    const none = await shown(), told = await status.textContent();
    await page.locator(".filters button.everything").focus();
    await page.keyboard.press("Enter");
    const again = await shown();
    await page.locator(".filters input[name=method]").first().focus();
    await page.keyboard.press("Space");
    const fewer = await shown();
    await page.locator(".filters input[name=metric]").first().focus();
    await page.keyboard.press("Space");
    const column = await first.locator("thead th").nth(1).isVisible();
    await page.locator(".filters button.everything").click();
    const back = await shown();
    const right = live === "polite" && none === 0 && told !== before && again === rows && fewer === rows - 1
      && !column && back === rows && (await status.textContent()) === before;
    return [right, before.trim()];
  });
}

async function chains(page) {
  await check("a mean leads to its chain, Escape leads back", async () => {
    const link = page.locator("#results a.number").first();
    await link.focus();
    const target = (await link.getAttribute("href")).slice(1);
    await page.keyboard.press("Enter");
    await page.waitForFunction((id) => document.activeElement?.id === id, target);
    const command = await page.locator(".asked:not([hidden]) .command").textContent();
    const row = await link.getAttribute("data-row");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.activeElement?.matches("#results a.number"));
    const same = await link.evaluate((element) => element === document.activeElement);
    return [same && command.includes(row) && command.startsWith("segtrace explain "), command];
  });
  await check("every link within the page has its target", async () => {
    const [count, lost] = await page.evaluate(() => {
      const links = [...document.querySelectorAll('a[href^="#"]')];
      const dead = links.filter((link) => !document.getElementById(decodeURIComponent(link.hash.slice(1))));
      return [links.length, dead.map((link) => link.hash)];
    });
    return [count > 0 && lost.length === 0, lost.length ? lost.join(" ") : `${count} links`];
  });
}

async function hover(page) {
  await check("a tooltip over a chart's point", async () => {
    const chart = page.locator(".chart:has(svg .mark-symbol path), .chart:has(canvas)").first();
    await chart.scrollIntoViewIfNeeded();
    const mark = chart.locator(".mark-symbol path").first();
    const tip = page.locator("#vg-tooltip-element.visible");
    if (await mark.count()) {
      const box = await mark.boundingBox();
      await page.mouse.move(box.x + box.width / 2 - 3, box.y + box.height / 2 - 3);
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 3 });
    } else {
      const box = await chart.locator("canvas").boundingBox();
      search: for (let y = 8; y < box.height - 30; y += 4) {
        for (let x = box.width - 20; x > 120; x -= 6) {
          await page.mouse.move(box.x + x, box.y + y);
          if (await tip.count()) break search;
        }
      }
    }
    await tip.waitFor({ timeout: 5000 });
    const text = (await tip.innerText()).replace(/\s+/g, " ");
    await page.mouse.move(1, 1);
    return [text.length > 0, text.slice(0, 60)];
  });
}

async function viewer(page) {
  const viewers = page.locator("[data-viewer]:visible");
  if (!(await viewers.count())) return note("slice viewer by keyboard", true, "no viewer on this page");
  await check("slice viewer by keyboard", async () => {
    const one = viewers.first();
    await one.scrollIntoViewIfNeeded();
    const control = one.locator("input[type=range], [tabindex], canvas, button").first();
    const texts = () => one.evaluate((element) => element.innerText
      + [...element.querySelectorAll("input,output,[aria-valuetext]")].map((part) => `${part.value ?? ""}${part.getAttribute("aria-valuetext") ?? ""}`).join());
    await ((await control.count()) ? control : one).focus();
    const before = await texts();
    for (const key of ["ArrowRight", "ArrowUp"]) await page.keyboard.press(key);
    await page.keyboard.press("ArrowUp");
    await page.waitForTimeout(300);
    const after = await texts();
    return [before !== after, `${await viewers.count()} viewers`];
  });
}

/** The page's paper, the ink of the first chart's labels (as painted, whichever way it is set), and the switch. */
async function switchColours(page) {
  const button = page.locator("#colours");
  await page.locator(".chart svg .role-axis-label text").first().waitFor();
  const look = () => page.evaluate(() => [
    getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector(".chart svg .role-axis-label text")).fill,
    document.getElementById("colours").getAttribute("aria-pressed"),
  ]);
  const before = await look();
  await button.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction((fill) => {
    const label = document.querySelector(".chart svg .role-axis-label text");
    return label !== null && getComputedStyle(label).fill !== fill;
  }, before[1], { timeout: 20000 });
  const after = await look();
  await page.reload({ waitUntil: "load" });
  await page.locator(".chart svg .role-axis-label text").first().waitFor();
  const again = await look();
  return [before[0] !== after[0] && before[2] !== after[2] && again.join() === after.join(),
          `paper ${before[0]} to ${after[0]}, ink of charts ${before[1]} to ${after[1]}, kept when opened again`];
}

async function look(browser, file, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of WIDTHS) {
      const { context, page } = await open(browser, file, { colorScheme, viewport: { width, height: 900 } });
      await drawCharts(page);
      await page.evaluate(() => { document.activeElement?.blur(); scrollTo({ top: 0, behavior: "instant" }); });
      await page.screenshot({ path: join(pictures, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      await check(`no sideways scrolling at ${width} px, ${colorScheme}`, async () => {
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        return [over <= 0, `${over} px over`];
      });
      await check(`axe-core at ${width} px, ${colorScheme}`, async () => {
        await page.evaluate(() => { for (const details of document.querySelectorAll("details")) details.open = true; });
        await page.evaluate(axe);
        const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
        const list = result.violations.map((rule) => `${rule.id}: ${rule.nodes[0].target} (${rule.nodes.length})`);
        return [list.length === 0, list.length ? list.join("; ") : `${result.passes.length} rules pass, 0 violations`];
      });
      await context.close();
    }
  }
}

async function checkPage(browser, file, name) {
  const times = await paint(browser, file);
  note("first paint", Number.isFinite(times.content),
       `${Math.round(times.paint)} ms, content ${Math.round(times.content)} ms, loaded ${Math.round(times.loaded)} ms`);
  if (paintOnly) return;
  const { context, page, seen } = await open(browser, file, { colorScheme: "light" });
  await check("the first Tab reaches the skip link, and it is seen", async () => {
    await page.keyboard.press("Tab");
    const box = await page.locator("a.skip:focus").boundingBox();
    return [box !== null && box.x >= 0 && box.y >= 0, ""];
  });
  await check("charts are drawn", async () => {
    const { count, missing } = await drawCharts(page);
    return [count > 0 && missing === 0, `${count} charts`];
  });
  await tables(page);
  await chains(page);
  await hover(page);
  await viewer(page);
  await check("colours by the switch, charts too", () => switchColours(page));
  await check("reduced motion is respected", async () => {
    await page.emulateMedia({ reducedMotion: "reduce" });
    return [await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior === "auto"), ""];
  });
  await check("printing opens what unfolds and cuts no table", async () => {
    await page.setViewportSize({ width: 1032, height: 700 }); // A4 on its side, less the margins
    await page.emulateMedia({ media: "print" });
    await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
    const closed = await page.locator("details:not([open], .long)").count();
    const cut = await page.evaluate(() => [...document.querySelectorAll("table, pre")]
      .filter((part) => part.getBoundingClientRect().right > innerWidth + 1 || part.scrollWidth > part.clientWidth + 1).length);
    await page.emulateMedia({ media: null });
    await page.evaluate(() => dispatchEvent(new Event("afterprint")));
    const pdf = await page.pdf({ path: join(pictures, `${name}.pdf`), preferCSSPageSize: true });
    return [closed === 0 && cut === 0 && pdf.length > 10000, `${closed} closed, ${cut} cut, ${(pdf.length / 1e6).toFixed(1)} MB of PDF`];
  });
  note("no console error", seen.errors.length === 0, seen.errors.slice(0, 3).join("; "));
  note("no request leaves the page", seen.requests.length === 0, seen.requests.slice(0, 3).join("; "));
  await context.close();
  await look(browser, file, name);
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"] });
try {
  for (const [number, file] of pages.entries()) {
    current = file;
    await checkPage(browser, file, `page-${number + 1}`);
  }
  note("browser", true, `Chromium ${browser.version()}, axe-core ${require("axe-core/package.json").version}`);
} finally {
  await browser.close();
  writeFileSync(out, JSON.stringify(found, null, 1));
}
