// The dashboard's one script. Every page works without it; it adds what is live. `data-page` of <body> names the page.

/* Shared by the pages */

const root = document.documentElement;

/** Tells a screen reader what changed. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** fetch() that shows our own form token, without which a signed-in browser may change nothing. */
export function send(address, options = {}) {
  const token = document.querySelector('meta[name="form-token"]').content;
  return fetch(address, { ...options, headers: { ...options.headers, ...(token && { "X-Form-Token": token }) } });
}

/** The JSON that the page carries in <script type="application/json" id=…>. */
export function carried(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** At most one call in `milliseconds`; the last one always comes. */
export function seldom(milliseconds, call) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      call();
    }, milliseconds);
  };
}

const drawn = new Map();

/** Draws a plotly figure into `element`, in the page's colours, and again whenever these change. */
export function plot(element, figure) {
  drawn.set(element, figure);
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--soft"), automargin: true, fixedrange: true };
  const layout = {
    autosize: true,
    showlegend: false,
    dragmode: false,
    margin: { l: 56, r: 12, t: 8, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12.5 },
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    ...figure.layout,
    xaxis: { ...axis, ...figure.layout?.xaxis },
    yaxis: { ...axis, ...figure.layout?.yaxis },
  };
  return Plotly.react(element, figure.data, layout, { displayModeBar: false, responsive: true });
}

function themes() {
  const button = document.getElementById("theme");
  const show = () => button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));
  const choose = (theme) => {
    root.dataset.theme = theme;
    show();
    for (const [element, figure] of drawn) plot(element, figure);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    choose(root.dataset.theme === "dark" ? "light" : "dark");
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Storage may be forbidden; the choice then lasts as long as the page.
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => choose(event.matches ? "dark" : "light"));
  show();
}

/* Studies */

/** Brings the rows up to date: often while a study runs, seldom otherwise, never in a hidden tab. */
function studies() {
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

/** Changes only the rows that differ, so that focus and selection stay where they are. */
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

/* New study */

function new_study() {
  document.getElementById("mistakes")?.focus();
  const form = document.getElementById("study");
  const shown = document.getElementById("estimate");
  const ask = document.getElementById("ask");
  if (!ask) return;
  ask.hidden = true;
  const update = seldom(500, async () => {
    const body = new FormData(form);
    const answer = await send("/studies/estimate", { method: "POST", body, headers: { "X-Fragment": "1" } }).catch(() => null);
    if (answer?.ok) shown.innerHTML = await answer.text();
  });
  form.addEventListener("input", update);
  update();
}

/* One study */

// As in the report: told apart by most colour-blind readers; the dash changes with every round.
const COLOURS = ["#3b82c4", "#d9822b", "#2a9d6f", "#c25fa5", "#8a7fd6", "#a8862c", "#3c9fb5", "#d0605e"];
const DASHES = ["solid", "dash", "dashdot"];
const SVG_DASHES = ["", "7 4", "7 3 2 3"];
const TRAIN_AT_MOST = 4;

function study() {
  const curves = carried("curves");
  const hidden = new Set();
  let withTrain = curves.trials.length <= TRAIN_AT_MOST;
  const draw = () => drawCurves(curves, hidden, withTrain);
  const legend = () =>
    drawLegend(curves, hidden, withTrain, (train) => {
      withTrain = train ?? withTrain;
      draw();
    });
  legend();
  draw();
  if (!curves.ended) follow(curves, seldom(700, draw), legend);
}

/** Listens to what happens to the study; the curves grow here, all else is fetched as it now stands. */
function follow(curves, redraw, relegend) {
  const path = location.pathname;
  const id = path.split("/").pop();
  const refresh = seldom(500, async () => {
    const answer = await fetch(`${path}/standing`).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    replaceStanding(await answer.text());
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
    announce(`The study is ${data.status}.`);
    if (["succeeded", "failed", "cancelled"].includes(data.status)) {
      source.close();
      setTimeout(() => location.reload(), 800);
    }
  });
}

function replaceStanding(html) {
  const before = document.getElementById("standing");
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

/** Each plot in a task of its own, so that the page answers a hand in between. */
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
    const line = { color: COLOURS[i % COLOURS.length], width: 2, dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length] };
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
      data.push({ x: [trial.best], y: [validation[at]], mode: "markers", name: `${trial.name}, best epoch`, marker });
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
  element.setAttribute("aria-label", inWords(curves, figure, curves.figures[figure]));
  plot(element, { data, layout });
}

function inWords(curves, figure, title) {
  const told = curves.trials.flatMap((trial) => {
    const value = trial.columns[`val_${figure}`]?.at(-1);
    return value == null ? [] : [`${trial.name} ${value.toFixed(3)} at epoch ${trial.columns.number.at(-1)}`];
  });
  return `${title} by epoch. ${told.length ? `Latest: ${told.join("; ")}.` : "No epoch has ended yet."}`;
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
        swatch(i),
        trial.name,
      ),
    ),
    box(withTrain, (checked) => changed(checked), "train curves"),
  );
}

function swatch(i) {
  const dash = SVG_DASHES[Math.floor(i / COLOURS.length) % SVG_DASHES.length];
  const holder = document.createElement("span");
  holder.innerHTML = `<svg width="28" height="10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
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

/** Draws the figures that the page carries: <script type="application/json" data-plot="id of the place">. */
function figures() {
  for (const script of document.querySelectorAll("script[data-plot]")) {
    plot(document.getElementById(script.dataset.plot), JSON.parse(script.textContent));
  }
}

/** A page with much to do has a module of its own, which is handed what all of them share. */
async function extra() {
  const address = document.body.dataset.module;
  if (address) (await import(address)).default({ announce, carried, plot, send });
  document.body.dataset.ready = "";
}

const pages = { studies, new_study, study, log };
themes();
figures();
extra();
pages[document.body.dataset.page]?.();
