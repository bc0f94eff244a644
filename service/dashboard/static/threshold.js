// The threshold slider of a result. A test compares its arithmetic with service/models/validation.py.

/** Counts of images if every score at or above the threshold is classified as malignant. */
export function outcome(scores, malignant, threshold) {
  const counts = { found: 0, missed: 0, alarms: 0, cleared: 0 };
  scores.forEach((score, i) => {
    const positive = score >= threshold;
    counts[malignant[i] ? (positive ? "found" : "missed") : positive ? "alarms" : "cleared"] += 1;
  });
  return counts;
}

export function recall({ found, missed }) {
  return found + missed ? found / (found + missed) : null;
}

export function specificity({ alarms, cleared }) {
  return alarms + cleared ? cleared / (alarms + cleared) : null;
}

/** How many of the patients have cancer and are classified as benign. */
export function missedCancers(counts, prevalence, patients) {
  return recall(counts) === null ? null : patients * prevalence * (1 - recall(counts));
}

/** How many of the patients have no cancer and are classified as malignant. */
export function extraBiopsies(counts, prevalence, patients) {
  return specificity(counts) === null ? null : patients * (1 - prevalence) * (1 - specificity(counts));
}

/** How many malignant lesions have an image that is classified as benign. */
export function missedLesions(lowest, threshold) {
  return lowest.filter((score) => score < threshold).length;
}

const shown = (value, digits) => (value === null ? "not defined" : value.toFixed(digits));

/** Formatted as by `wording.probability` on the server. */
function probability(value) {
  if (value > 0 && value < 0.00005) return "< 0.0001";
  return value >= 0.99995 && value < 1 ? "> 0.9999" : value.toFixed(4);
}

/** Formatted as by `wording.expected_patients` on the server. */
const expected = (value) => shown(value, value !== null && Math.round(10 * value) >= 100 ? 0 : 1);

/** A value in comparison with that at the chosen threshold. */
function difference(value, chosen, what) {
  const by = expected(Math.abs(value - chosen));
  return by === "0.0" ? `as many ${what}` : `${by} ${value > chosen ? "more" : "fewer"} ${what}`;
}

function curve(data) {
  const points = [[1, 1], ...data.stops.map((stop) => point(outcome(data.scores, data.malignant, stop))), [0, 0]];
  return { x: points.map(([x]) => x), y: points.map(([, y]) => y) };
}

function point(counts) {
  return [1 - (specificity(counts) ?? 1), recall(counts) ?? 0];
}

function roc(line, here, chosen) {
  const unit = { range: [-0.03, 1.03], constrain: "domain" };
  return {
    data: [
      { x: [0, 1], y: [0, 1], mode: "lines", name: "chance", line: { dash: "dot", color: "#888" }, hoverinfo: "skip" },
      { ...line, mode: "lines", name: "ROC", line: { color: "#3b82c4", width: 2.5 }, hoverinfo: "skip" },
      { x: [chosen[0]], y: [chosen[1]], mode: "markers", name: "chosen threshold", marker: { symbol: "diamond", size: 13, color: "#d9822b" } },
      { x: [here[0]], y: [here[1]], mode: "markers", name: "slider", marker: { symbol: "circle-open", size: 18, color: "#2a9d6f", line: { width: 3 } } },
    ],
    layout: {
      height: 340,
      xaxis: { ...unit, title: { text: "1 - specificity" } },
      yaxis: { ...unit, title: { text: "Recall" } },
    },
  };
}

export default function start({ pageData, plot }) {
  const data = pageData("tradeoff-data");
  const find = (id) => document.getElementById(id);
  const [slider, prevalence, reset] = ["threshold", "prevalence", "reset"].map(find);
  const atChosen = outcome(data.scores, data.malignant, data.chosen);
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
    if (data.lowest_of_lesions) find("t-lesions").textContent = missedLesions(data.lowest_of_lesions, threshold);
    find("t-missed").textContent = expected(missed);
    find("t-extra").textContent = expected(extra);
    const isChosen = Number(slider.value) === data.chosen_index;
    reset.disabled = isChosen;
    find("t-compared").textContent = isChosen
      ? "This is the chosen threshold."
      : `Compared with the chosen threshold, per ${data.patients.toLocaleString("en")} patients: ` +
        `${difference(missed, missedCancers(atChosen, share, data.patients), "missed cancers")}, ` +
        `${difference(extra, extraBiopsies(atChosen, share, data.patients), "extra biopsies")}.`;
    slider.setAttribute(
      "aria-valuetext",
      `${probability(threshold)}${isChosen ? ", the chosen threshold" : ""}: recall ${shown(recall(counts), 3)}, ` +
        `specificity ${shown(specificity(counts), 3)}`,
    );
    plot(find("t-roc"), roc(line, point(counts), point(atChosen)));
  }

  for (const control of [slider, prevalence]) {
    control.disabled = false;
    control.addEventListener("input", move);
  }
  reset.addEventListener("click", () => {
    slider.value = data.chosen_index;
    move();
    slider.focus();
  });
  move();
}
