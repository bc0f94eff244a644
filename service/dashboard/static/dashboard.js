// The script of all dashboard pages, which also work without it. `data-page` of <body> names the page.

/* Shared by the pages */

const root = document.documentElement;

/** Announces a change to screen readers. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** fetch() with the form token, which requests of a signed-in browser need to change anything. */
export function send(address, options = {}) {
  const token = document.querySelector('meta[name="form-token"]').content;
  return fetch(address, { ...options, headers: { ...options.headers, ...(token && { "X-Form-Token": token }) } });
}

/** The data of the page in <script type="application/json" id=…>. */
export function pageData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Calls at most once per `milliseconds`, and always after the last request. */
export function throttle(milliseconds, call) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      call();
    }, milliseconds);
  };
}

function themes() {
  const button = document.getElementById("theme");
  const show = () => button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  const choose = (theme) => {
    root.dataset.theme = theme;
    show();
    plots.redraw();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    choose(root.dataset.theme === "dark" ? "light" : "dark");
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Without storage, the choice lasts until the page closes.
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => choose(event.matches ? "dark" : "light"));
  show();
}

/* Experiments */

/** Updates the rows: every 2 s while an experiment runs, otherwise every 10 s, and never in a hidden tab. */
function experiments() {
  const rows = document.getElementById("rows");
  if (!rows) return;
  const address = new URL(location.href);
  address.searchParams.set("fragment", "true");
  const isActive = () => rows.querySelector(".badge.running, .badge.queued, .badge.cancelling") !== null;
  const again = () => setTimeout(update, isActive() ? 2000 : 10000);
  async function update() {
    if (!document.hidden) {
      const answer = await fetch(address).catch(() => null);
      if (answer?.ok && !answer.redirected) replaceRows(rows, await answer.text());
    }
    again();
  }
  again();
}

/** Replaces only the cells that differ, so focus and selection are kept. */
function replaceRows(body, html) {
  const fresh = document.createElement("tbody");
  fresh.innerHTML = html;
  const before = [...body.rows];
  const after = [...fresh.rows];
  if (before.length !== after.length || before.some((row, i) => row.id !== after[i].id)) {
    if (!body.contains(document.activeElement)) body.replaceChildren(...after);
    return;
  }
  before.forEach((row, i) => {
    for (const [j, cell] of [...row.cells].entries()) {
      if (!cell.contains(document.activeElement) && cell.innerHTML !== after[i].cells[j].innerHTML) {
        if (cell.querySelector(".badge")) announce(`${row.cells[0].innerText}: ${after[i].cells[j].textContent.trim()}`);
        cell.replaceWith(after[i].cells[j].cloneNode(true));
      }
    }
  });
}

/* New experiment */

function new_experiment() {
  document.getElementById("mistakes")?.focus();
  const form = document.getElementById("experiment");
  const dataset = document.getElementById("dataset");
  const warn = () => {
    for (const notice of document.querySelectorAll(".dataset-notice")) {
      notice.hidden = !notice.dataset.datasets.split(" ").includes(dataset.value);
    }
  };
  dataset.addEventListener("change", warn);
  warn();
  const estimate = document.getElementById("estimate");
  const button = document.getElementById("ask");
  if (!button) return;
  button.hidden = true;
  const update = throttle(500, async () => {
    const body = new FormData(form);
    const answer = await send("/experiments/estimate", { method: "POST", body, headers: { "X-Fragment": "1" } }).catch(() => null);
    if (answer?.ok) estimate.innerHTML = await answer.text();
  });
  form.addEventListener("input", update);
  update();
}

/* One experiment */

const DASHES = ["solid", "dash", "dashdot"];
const SVG_DASHES = ["", "7 4", "7 3 2 3"];
const MAX_TRIALS_WITH_TRAIN = 4;

function experiment() {
  if (!document.getElementById("curves")) return; // it ended before its first epoch
  const curves = pageData("curves");
  const hidden = new Set();
  let withTrain = curves.trials.length <= MAX_TRIALS_WITH_TRAIN;
  const draw = () => drawCurves(curves, hidden, withTrain);
  const legend = () =>
    drawLegend(curves, hidden, withTrain, (train) => {
      withTrain = train ?? withTrain;
      draw();
    });
  legend();
  draw();
  if (!curves.ended) follow(curves, throttle(700, draw), legend);
}

/** Follows the experiment's events: extends the curves, and loads the status again. */
function follow(curves, redraw, relegend) {
  const path = location.pathname;
  const id = path.split("/").pop();
  const refresh = throttle(500, async () => {
    const answer = await fetch(`${path}/status`).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    replaceStatus(await answer.text());
  });
  const source = new EventSource(`/v1/experiments/${id}/events?after=${curves.after}`);
  const on = (kind, act) =>
    source.addEventListener(kind, (event) => {
      act(JSON.parse(event.data));
      refresh();
    });
  on("phase", () => {});
  on("trial", (data) => {
    const known = curves.trials.find((trial) => trial.id === data.trial_id);
    if (data.status !== "running") return;
    if (known) {
      known.columns = { number: [] };
    } else if (data.name !== "final") {
      curves.trials.push({ id: data.trial_id, name: data.name, best: null, columns: { number: [] } });
      relegend();
    }
    redraw();
  });
  on("epoch", (data) => {
    const trial = curves.trials.find((one) => one.id === data.trial_id);
    if (!trial) return;
    const at = data.number - 1;
    trial.columns.number[at] = data.number;
    for (const figure of Object.keys(curves.figures)) {
      for (const name of [figure, `val_${figure}`]) (trial.columns[name] ??= [])[at] = data.metrics[name] ?? null;
    }
    if (data.best) trial.best = data.number;
    redraw();
  });
  on("experiment", (data) => {
    announce(`The experiment is ${data.status}.`);
    if (["succeeded", "failed", "cancelled"].includes(data.status)) {
      source.close();
      setTimeout(() => location.reload(), 800);
    }
  });
}

function replaceStatus(html) {
  const before = document.getElementById("experiment-status");
  const holder = document.createElement("div");
  holder.innerHTML = html;
  const after = holder.firstElementChild;
  const status = after.dataset.status;
  const badge = document.getElementById("status");
  badge.className = `badge ${status}`;
  badge.textContent = status;
  for (const part of after.querySelectorAll(".scroll")) {
    const old = before.querySelector(`[aria-label="${part.getAttribute("aria-label")}"]`);
    if (old) requestAnimationFrame(() => (part.scrollLeft = old.scrollLeft));
  }
  const focused = before.contains(document.activeElement) ? document.activeElement : null;
  const again = focused?.getAttribute("aria-label");
  before.replaceWith(after);
  if (again) after.querySelector(`[aria-label="${CSS.escape(again)}"]`)?.focus({ preventScroll: true });
}

/** Draws each plot in its own task, so the page stays responsive. */
function drawCurves(curves, hidden, withTrain) {
  for (const figure of Object.keys(curves.figures)) setTimeout(() => drawCurve(curves, hidden, withTrain, figure), 0);
}

function drawCurve(curves, hidden, withTrain, figure) {
  const data = [];
  let last = 1;
  curves.trials.forEach((trial, i) => {
    const numbers = trial.columns.number;
    if (hidden.has(trial.id) || numbers.length === 0) return;
    last = Math.max(last, numbers.at(-1));
    const line = { color: curves.colours[i % curves.colours.length], width: 2, dash: DASHES[round(i, curves) % DASHES.length] };
    const mode = numbers.length > 1 ? "lines" : "markers";
    const validation = trial.columns[`val_${figure}`];
    data.push({ x: numbers, y: validation, mode, name: trial.name, line });
    if (withTrain) {
      const dotted = { color: line.color, width: 1.3, dash: "dot" };
      data.push({ x: numbers, y: trial.columns[figure], mode, name: `${trial.name}, train`, line: dotted, opacity: 0.75 });
    }
    const at = numbers.indexOf(trial.best);
    if (at >= 0) {
      const marker = { color: line.color, size: 9 };
      data.push({ x: [trial.best], y: [validation[at]], mode: "markers", name: `${trial.name}, best epoch`, marker, showlegend: false });
    }
  });
  const layout = { xaxis: { title: { text: "Epoch" }, range: [0.5, last + 0.5] }, yaxis: {}, hovermode: "closest" };
  if (last <= 10) layout.xaxis.dtick = 1;
  if (figure !== "loss") layout.yaxis.range = [-0.02, 1.02];
  if (figure === "specificity" && curves.floor !== null) {
    const style = { color: "#8a94a0", width: 1.2, dash: "dash" };
    layout.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: curves.floor, y1: curves.floor, line: style }];
  }
  const element = document.getElementById(`curve-${figure}`);
  element.setAttribute("aria-label", describe(curves, figure, curves.figures[figure]));
  plots.draw(element, { data, layout });
}

function describe(curves, figure, title) {
  const latest = curves.trials.flatMap((trial) => {
    const value = trial.columns[`val_${figure}`]?.at(-1);
    return value == null ? [] : [`${trial.name} ${value.toFixed(3)} at epoch ${trial.columns.number.at(-1)}`];
  });
  return `${title} by epoch. ${latest.length ? `Latest: ${latest.join("; ")}.` : "No epoch is complete yet."}`;
}

function drawLegend(curves, hidden, withTrain, changed) {
  const legend = document.getElementById("legend");
  const box = (checked, act, ...content) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "checkbox", checked });
    input.addEventListener("change", () => act(input.checked));
    label.append(input, ...content);
    return label;
  };
  legend.replaceChildren(
    ...curves.trials.map((trial, i) =>
      box(
        !hidden.has(trial.id),
        (checked) => {
          checked ? hidden.delete(trial.id) : hidden.add(trial.id);
          changed();
        },
        swatch(i, curves),
        trial.name,
      ),
    ),
    box(withTrain, (checked) => changed(checked), "training curves"),
  );
}

/** How many times the colours were used before the trial `i`: each time, the dash changes. */
function round(i, curves) {
  return Math.floor(i / curves.colours.length);
}

function swatch(i, curves) {
  const dash = SVG_DASHES[round(i, curves) % SVG_DASHES.length];
  const holder = document.createElement("span");
  holder.innerHTML = `<svg width="28" height="10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" stroke="${curves.colours[i % curves.colours.length]}" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
  return holder.firstElementChild;
}

function log() {
  const element = document.getElementById("log");
  if (!element?.dataset.address) return;
  setInterval(async () => {
    const answer = document.hidden ? null : await fetch(element.dataset.address).catch(() => null);
    if (answer?.ok && !answer.redirected) element.textContent = await answer.text();
  }, 5000);
}

/* Every page */

/** Starts the module of a page that has one, and passes it the shared functions. */
async function startModule() {
  const address = document.body.dataset.module;
  if (address) (await import(address)).default({ announce, pageData, plot: plots.draw, send });
  document.body.dataset.ready = "";
}

const pages = { experiments, new_experiment, experiment, log };
themes();
plots.drawAll();
startModule();
pages[document.body.dataset.page]?.();
