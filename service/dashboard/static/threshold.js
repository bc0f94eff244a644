// The threshold slider of a result. The arithmetic is that of service/models/validation.py; a test holds them equal.

/** Counts of images when every score that reaches the threshold is called malignant. */
export function outcome(scores, malignant, threshold) {
  const counts = { found: 0, missed: 0, alarms: 0, cleared: 0 };
  scores.forEach((score, i) => {
    const called = score >= threshold;
    counts[malignant[i] ? (called ? "found" : "missed") : called ? "alarms" : "cleared"] += 1;
  });
  return counts;
}

export function recall({ found, missed }) {
  return found + missed ? found / (found + missed) : null;
}

export function specificity({ alarms, cleared }) {
  return alarms + cleared ? cleared / (alarms + cleared) : null;
}

/** Of so many patients: those with cancer that are called benign. */
export function missedCancers(counts, prevalence, patients) {
  return recall(counts) === null ? null : patients * prevalence * (1 - recall(counts));
}

/** Of so many patients: those without cancer that are called malignant. */
export function extraBiopsies(counts, prevalence, patients) {
  return specificity(counts) === null ? null : patients * (1 - prevalence) * (1 - specificity(counts));
}

const shown = (value, digits) => (value === null ? "not defined" : value.toFixed(digits));

/** As `wording.probability` of the server says it. */
function probability(value) {
  if (value > 0 && value < 0.00005) return "< 0.0001";
  return value >= 0.99995 && value < 1 ? "> 0.9999" : value.toFixed(4);
}

/** How one figure compares with that at the sealed threshold. */
function difference(value, sealed, what) {
  const by = Math.abs(value - sealed).toFixed(1);
  return by === "0.0" ? `as many ${what}` : `${by} ${value > sealed ? "more" : "fewer"} ${what}`;
}

function curve(data) {
  const points = [[1, 1], ...data.stops.map((stop) => point(outcome(data.scores, data.malignant, stop))), [0, 0]];
  return { x: points.map(([x]) => x), y: points.map(([, y]) => y) };
}

function point(counts) {
  return [1 - (specificity(counts) ?? 1), recall(counts) ?? 0];
}

function roc(line, here, sealed) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const unit = { range: [-0.03, 1.03], constrain: "domain" };
  return {
    data: [
      { x: [0, 1], y: [0, 1], mode: "lines", line: { dash: "dot", color: "#888" }, hoverinfo: "skip" },
      { ...line, mode: "lines", line: { color: "#3b82c4", width: 2.5 }, hoverinfo: "skip" },
      { x: [sealed[0]], y: [sealed[1]], mode: "markers", name: "sealed", marker: { symbol: "diamond", size: 13, color: "#d9822b" } },
      { x: [here[0]], y: [here[1]], mode: "markers", name: "here", marker: { symbol: "circle-open", size: 18, color: ink, line: { width: 3 } } },
    ],
    layout: {
      height: 340,
      xaxis: { ...unit, title: { text: "1 - specificity" } },
      yaxis: { ...unit, title: { text: "Recall" } },
    },
  };
}

export default function start({ carried, plot }) {
  const data = carried("tradeoff-data");
  const find = (id) => document.getElementById(id);
  const [slider, prevalence, back] = ["threshold", "prevalence", "to-the-seal"].map(find);
  const atTheSeal = outcome(data.scores, data.malignant, data.sealed);
  const line = curve(data);

  function move() {
    const threshold = data.stops[Number(slider.value)];
    const share = Math.min(Math.max(Number(prevalence.value) / 100, 0), 1);
    const counts = outcome(data.scores, data.malignant, threshold);
    const missed = missedCancers(counts, share, data.patients);
    const extra = extraBiopsies(counts, share, data.patients);
    find("threshold-shown").textContent = probability(threshold);
    find("t-recall").textContent = shown(recall(counts), 3);
    find("t-specificity").textContent = shown(specificity(counts), 3);
    find("t-missed").textContent = shown(missed, 1);
    find("t-extra").textContent = shown(extra, 1);
    const sealed = Number(slider.value) === data.sealed_at;
    back.disabled = sealed;
    find("t-compared").textContent = sealed
      ? "This is the sealed threshold."
      : `Against the sealed threshold, per ${data.patients.toLocaleString("en")} patients: ` +
        `${difference(missed, missedCancers(atTheSeal, share, data.patients), "missed cancers")}, ` +
        `${difference(extra, extraBiopsies(atTheSeal, share, data.patients), "extra biopsies")}.`;
    slider.setAttribute(
      "aria-valuetext",
      `${probability(threshold)}${sealed ? ", the sealed threshold" : ""}: recall ${shown(recall(counts), 3)}, ` +
        `specificity ${shown(specificity(counts), 3)}`,
    );
    plot(find("t-roc"), roc(line, point(counts), point(atTheSeal)));
  }

  for (const control of [slider, prevalence]) {
    control.disabled = false;
    control.addEventListener("input", move);
  }
  back.addEventListener("click", () => {
    slider.value = data.sealed_at;
    move();
    slider.focus();
  });
  move();
}
