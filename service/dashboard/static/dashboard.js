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
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
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
}

const pages = { studies };
themes();
figures();
extra();
pages[document.body.dataset.page]?.();
