// Registers a data set from the form for a new experiment, and chooses it there.

const PARTS = ["file", "lesions", "patients"];
const find = (id) => document.getElementById(`register-${id}`);

/** The files that were chosen, by the name of their part. */
function chosen() {
  const body = new FormData();
  for (const part of PARTS) for (const file of find(part).files) body.append(part, file);
  return body;
}

/** What the server found, or what is wrong and how to correct it. */
async function register(name, body, send) {
  try {
    const answer = await send(`/v1/datasets?name=${encodeURIComponent(name)}`, { method: "POST", body });
    const read = await answer.json();
    return answer.ok ? { read } : { problem: `${read.title}: ${read.detail}. ${read.remedy}` };
  } catch {
    return { problem: "The server did not answer. Try again; a file beyond its limits can be registered on the server." };
  }
}

function choose(name) {
  const select = document.getElementById("dataset");
  if (![...select.options].some((option) => option.value === name)) select.add(new Option(`${name} – registered`, name));
  select.value = name;
  for (const kind of ["change", "input"]) select.dispatchEvent(new Event(kind, { bubbles: true }));
}

export default function start({ announce, send }) {
  const box = document.getElementById("register");
  if (!box) return;
  const say = (text) => {
    find("status").textContent = text;
    announce(text);
  };
  box.hidden = false;
  find("send").addEventListener("click", async () => {
    const name = find("name").value.trim();
    const body = chosen();
    if (!name || !body.has("file")) return say("Enter a name and choose an .npz file.");
    find("send").disabled = true;
    say(`Sending ${(find("file").files[0].size / 1e6).toFixed(1)} MB, then checking it …`);
    const { read, problem } = await register(name, body, send);
    find("send").disabled = false;
    if (problem) return say(problem);
    choose(name);
    say(`${name} is registered and chosen. ${read.notice ?? ""}`);
  });
}
