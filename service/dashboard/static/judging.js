// Images sent to the champion: one with its heatmap, or many as a table that fills as the answers come.

const find = (id) => document.getElementById(id);
const PICTURE = 448;

/** As `wording.probability` of the server says it. */
function probability(value) {
  if (value > 0 && value < 0.00005) return "< 0.0001";
  return value >= 0.99995 && value < 1 ? "> 0.9999" : value.toFixed(4);
}

function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

/** A field that neither ends early nor begins a formula in whatever opens the file. */
function field(value) {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) && typeof value !== "number" ? `'${text}` : text).replaceAll('"', '""')}"`;
}

/** The lines of a batch, with their header, as CSV (RFC 4180). */
export function csv(lines) {
  const columns = ["index", "file", "label", "probability_malignant", "threshold", "unlikeness", "model_version", "warnings", "problem"];
  const rows = lines.map(({ index, file, prediction, problem }) => [
    index,
    file,
    prediction?.label,
    prediction?.probability_malignant,
    prediction?.threshold,
    prediction?.unlikeness,
    prediction?.model_version,
    prediction?.warnings.map((warning) => warning.code).join(" "),
    problem && `${problem.title}: ${problem.detail}`,
  ]);
  return [columns, ...rows].map((row) => `${row.map(field).join(",")}\r\n`).join("");
}

/** Calls `tell` with each line of JSON as it arrives. */
async function eachLine(body, tell) {
  let rest = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => tell(JSON.parse(line)));
  }
  if (rest) tell(JSON.parse(rest));
}

/** The middle square, which is what the network sees; false for a format that browsers cannot show. */
async function show(file) {
  const canvas = find("picture");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, PICTURE, PICTURE);
  try {
    const image = await createImageBitmap(file);
    const side = Math.min(image.width, image.height);
    context.imageSmoothingEnabled = side > 64;
    const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
    context.drawImage(image, left, top, side, side, 0, 0, PICTURE, PICTURE);
    return true;
  } catch {
    return false;
  }
}

function tellHeat({ png_base64: png, strongest_change: change }) {
  find("heat").src = `data:image/png;base64,${png}`;
  find("strongest").textContent = change.toFixed(3);
}

function blend() {
  find("heat").hidden = !find("show-heat").checked;
  find("heat").style.opacity = find("opacity").value / 100;
}

function tellPrediction(prediction, name) {
  const { label, probability_malignant: p, threshold } = prediction;
  find("label").textContent = label;
  find("label").className = `label ${label}`;
  find("fill").style.width = `${100 * p}%`;
  find("fill").className = `fill ${label}`;
  find("mark").style.left = `${100 * threshold}%`;
  find("mark-label").textContent = `threshold ${probability(threshold)}`;
  find("bar").setAttribute(
    "aria-label",
    `Probability of malignant ${probability(p)}, ${p >= threshold ? "at or above" : "below"} the threshold ${probability(threshold)}`,
  );
  find("probability").textContent = probability(p);
  find("threshold").textContent = `${probability(threshold)}: malignant at or above it`;
  find("guarantee").textContent = prediction.guarantee.sentence ?? "none is recorded";
  find("unlikeness").textContent = unlikeness(prediction.unlikeness);
  find("prediction-id").textContent = prediction.prediction_id;
  find("warnings").replaceChildren(...prediction.warnings.map((warning) => make("li", warning.message)));
  find("disclaimer").textContent = prediction.disclaimer;
  find("picture-name").textContent = name;
}

/** In words, as the API describes it. */
function unlikeness(value) {
  if (value === null || value === undefined) return "not told by this model";
  return `${value.toFixed(2)} of the distance within which 99 % of validation images lie`;
}

function row({ index, file, prediction, problem }) {
  const line = document.createElement("tr");
  const name = make("th", file || `image ${index + 1}`);
  name.scope = "row";
  line.append(name);
  if (problem) {
    line.append(make("td", "not judged"), make("td", "–", "number"), make("td", "–", "number"), make("td", `${problem.detail}. ${problem.remedy}`));
    return line;
  }
  const label = make("td", "");
  label.append(make("span", prediction.label, `badge ${prediction.label === "malignant" ? "bad" : "good"}`));
  line.append(label, make("td", probability(prediction.probability_malignant), "number"), make("td", probability(prediction.threshold), "number"));
  line.append(make("td", prediction.warnings.map((warning) => warning.message).join(" ") || "none"));
  return line;
}

function refuse({ title, detail, remedy }) {
  find("problem").replaceChildren(make("strong", `${title}. `), make("span", `${detail}. ${remedy}`));
  find("problem").hidden = false;
}

export default function start({ announce, send }) {
  let lines = [];

  async function ask(address, files, field) {
    const body = new FormData();
    for (const file of files) body.append(field, file, file.name);
    const answer = await send(address, { method: "POST", body });
    if (answer.ok) return answer;
    throw await answer.json();
  }

  async function judgeOne(file) {
    const [answer, shown] = await Promise.all([ask("/predict?explain=true", [file], "file"), show(file)]);
    const prediction = await answer.json();
    tellPrediction(prediction, file.name);
    if (!shown) find("picture-name").textContent = `${file.name} (a format that browsers do not show: move the strength of the heatmap up)`;
    tellHeat(prediction.explanation);
    if (!shown) find("opacity").value = 100;
    blend();
    find("answer").hidden = false;
    find("answer").focus({ preventScroll: true });
    find("answer").scrollIntoView({ block: "nearest" });
    announce(`${prediction.label}, probability ${probability(prediction.probability_malignant)}, threshold ${probability(prediction.threshold)}`);
  }

  async function judgeMany(files) {
    lines = [];
    find("rows").replaceChildren();
    find("csv").disabled = true;
    find("batch").hidden = false;
    const answer = await ask("/v1/predict/batch", files, "files");
    await eachLine(answer.body, (line) => {
      lines.push(line);
      find("rows").append(row(line));
      find("batch-summary").textContent = `${lines.length} answered …`;
    });
    const count = (test) => lines.filter(test).length;
    const summary =
      `${lines.length} images: ${count((line) => line.prediction?.label === "malignant")} called malignant, ` +
      `${count((line) => line.prediction?.label === "benign")} benign, ${count((line) => line.problem)} not judged.`;
    find("batch-summary").textContent = summary;
    find("csv").disabled = lines.length === 0;
    find("batch").focus({ preventScroll: true });
    announce(summary);
  }

  async function judge(files) {
    if (!files.length) return;
    const single = files.length === 1 && !/\.zip$/i.test(files[0].name);
    find("problem").hidden = true;
    find("answer").hidden = true;
    find("batch").hidden = true;
    find("busy").hidden = false;
    find("busy").textContent = single ? `Judging ${files[0].name} …` : `Judging ${files.length === 1 ? files[0].name : `${files.length} files`} …`;
    try {
      await (single ? judgeOne(files[0]) : judgeMany(files));
    } catch (error) {
      find("batch").hidden = find("rows").childElementCount === 0;
      refuse(error.title ? error : { title: "No answer", detail: "the service did not answer", remedy: "Is it still running? Try again." });
    } finally {
      find("busy").hidden = true;
    }
  }

  find("files").addEventListener("change", async (event) => {
    await judge([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => judge([...event.clipboardData.files]));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => judge([...event.dataTransfer.files]));
  for (const button of document.querySelectorAll("button[data-sample]")) {
    button.addEventListener("click", async () => {
      const picture = await (await fetch(button.dataset.sample)).blob();
      await judge([new File([picture], button.dataset.name, { type: "image/png" })]);
    });
  }
  for (const id of ["show-heat", "opacity"]) find(id).addEventListener("input", blend);
  find("csv").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(lines)], { type: "text/csv" }));
    link.download = "dermatriage-answers.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
