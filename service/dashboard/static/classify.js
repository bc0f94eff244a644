// Sends images to the champion: one image gives a heatmap, several give a table that fills as predictions arrive.

const find = (id) => document.getElementById(id);
const PICTURE = 448;

/** Formatted as by `wording.probability` on the server. */
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

/** The lines of a batch as rows with a header; diagnoses have columns where the model predicts them. */
function table(lines) {
  const names = lines.find(({ prediction }) => prediction?.diagnoses)?.prediction.diagnoses.map(({ diagnosis }) => diagnosis) ?? [];
  const columns = ["index", "file", "label", "probability_malignant", "threshold", "unlikeness", "model_version", "warnings", "problem", ...names];
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
    ...names.map((_, place) => prediction?.diagnoses[place].probability),
  ]);
  return [columns, ...rows];
}

/** Calls `handle` with each line of JSON as it arrives. */
async function eachLine(body, handle) {
  let rest = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => handle(JSON.parse(line)));
  }
  if (rest) handle(JSON.parse(rest));
}

/** Draws the central square, which the network uses; false for a format that browsers cannot display. */
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

function showHeatmap({ png_base64: png, strongest_change: change }) {
  find("heat").src = `data:image/png;base64,${png}`;
  find("strongest").textContent = change.toFixed(3);
}

function updateHeatmap() {
  find("heat").hidden = !find("show-heat").checked;
  find("heat").style.opacity = find("opacity").value / 100;
}

function showPrediction(prediction, name) {
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
  find("guarantee").textContent = prediction.guarantee.sentence ?? "not recorded";
  find("unlikeness").textContent = outOfDistribution(prediction.unlikeness);
  find("prediction-id").textContent = prediction.prediction_id;
  find("warnings").replaceChildren(...prediction.warnings.map((warning) => make("li", warning.message)));
  showDiagnoses(prediction);
  find("disclaimer").textContent = prediction.disclaimer;
  find("picture-name").textContent = name;
}

function showDiagnoses({ diagnoses, probability_malignant: p }) {
  find("diagnoses").hidden = !diagnoses;
  find("malignant-sum").textContent = probability(p);
  find("diagnosis-rows").replaceChildren(...(diagnoses ?? []).map(diagnosisRow));
}

function diagnosisRow({ diagnosis, name, malignant, probability: p }) {
  const line = document.createElement("tr");
  const head = make("th", `${name} (${diagnosis}) `);
  head.scope = "row";
  if (malignant) head.append(make("span", "malignant", "badge bad"));
  const bar = make("span", "", "meter");
  const fill = make("span", "", `fill ${malignant ? "malignant" : "benign"}`);
  fill.style.setProperty("--done", `${100 * p}%`);
  bar.append(fill);
  head.append(bar);
  line.append(head, make("td", probability(p), "number"));
  return line;
}

/** The out-of-distribution score with its unit, as the API defines it. */
function outOfDistribution(value) {
  if (value === null || value === undefined) return "not available for this model";
  return `${value.toFixed(2)} (99 % of validation images are below 1)`;
}

function row({ index, file, prediction, problem }) {
  const line = document.createElement("tr");
  const name = make("th", file || `image ${index + 1}`);
  name.scope = "row";
  line.append(name);
  if (problem) {
    line.append(make("td", "not classified"), make("td", "–", "number"), make("td", "–", "number"), make("td", `${problem.detail}. ${problem.remedy}`));
    return line;
  }
  const label = make("td", "");
  label.append(make("span", prediction.label, `badge ${prediction.label === "malignant" ? "bad" : "good"}`));
  line.append(label, make("td", probability(prediction.probability_malignant), "number"), make("td", probability(prediction.threshold), "number"));
  line.append(make("td", prediction.warnings.map((warning) => warning.message).join(" ") || "none"));
  return line;
}

function showProblem({ title, detail, remedy }) {
  find("problem").replaceChildren(make("strong", `${title}. `), make("span", `${detail}. ${remedy}`));
  find("problem").hidden = false;
}

export default function start({ announce, send }) {
  let lines = [];

  async function post(address, files, field) {
    const body = new FormData();
    for (const file of files) body.append(field, file, file.name);
    const answer = await send(address, { method: "POST", body });
    if (answer.ok) return answer;
    throw await answer.json();
  }

  async function classifyOne(file) {
    const [answer, shown] = await Promise.all([post("/predict?explain=true", [file], "file"), show(file)]);
    const prediction = await answer.json();
    showPrediction(prediction, file.name);
    if (!shown) find("picture-name").textContent = `${file.name} (browsers cannot display this format; the heatmap is at full strength)`;
    showHeatmap(prediction.explanation);
    if (!shown) find("opacity").value = 100;
    updateHeatmap();
    find("answer").hidden = false;
    find("answer").focus({ preventScroll: true });
    find("answer").scrollIntoView({ block: "nearest" });
    announce(`${prediction.label}, probability ${probability(prediction.probability_malignant)}, threshold ${probability(prediction.threshold)}`);
  }

  async function classifyMany(files) {
    lines = [];
    find("rows").replaceChildren();
    find("csv").disabled = true;
    find("batch").hidden = false;
    const answer = await post("/v1/predict/batch", files, "files");
    await eachLine(answer.body, (line) => {
      lines.push(line);
      find("rows").append(row(line));
      find("batch-summary").textContent = `${lines.length} classified …`;
    });
    const count = (test) => lines.filter(test).length;
    const summary =
      `${lines.length} images: ${count((line) => line.prediction?.label === "malignant")} malignant, ` +
      `${count((line) => line.prediction?.label === "benign")} benign, ${count((line) => line.problem)} not classified.`;
    find("batch-summary").textContent = summary;
    find("csv").disabled = lines.length === 0;
    find("batch").focus({ preventScroll: true });
    announce(summary);
  }

  async function classify(files) {
    if (!files.length) return;
    const single = files.length === 1 && !/\.zip$/i.test(files[0].name);
    find("problem").hidden = true;
    find("answer").hidden = true;
    find("batch").hidden = true;
    find("busy").hidden = false;
    find("busy").textContent = single ? `Classifying ${files[0].name} …` : `Classifying ${files.length === 1 ? files[0].name : `${files.length} files`} …`;
    try {
      await (single ? classifyOne(files[0]) : classifyMany(files));
    } catch (error) {
      find("batch").hidden = find("rows").childElementCount === 0;
      showProblem(error.title ? error : { title: "No response", detail: "the service did not respond", remedy: "Check that it is running, then try again." });
    } finally {
      find("busy").hidden = true;
    }
  }

  find("files").addEventListener("change", async (event) => {
    await classify([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => classify([...event.clipboardData.files]));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => classify([...event.dataTransfer.files]));
  for (const button of document.querySelectorAll("button[data-sample]")) {
    button.addEventListener("click", async () => {
      const picture = await (await fetch(button.dataset.sample)).blob();
      await classify([new File([picture], button.dataset.name, { type: "image/png" })]);
    });
  }
  for (const id of ["show-heat", "opacity"]) find(id).addEventListener("input", updateHeatmap);
  find("csv").addEventListener("click", () => {
    downloads.save("dermatriage-predictions.csv", "text/csv", downloads.csv(table(lines)));
  });
}
