// Updates the system page every ten seconds, unless its content has focus or a selection.

const SECONDS = 10;

async function update() {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement) || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (fresh) live.replaceChildren(...fresh.childNodes);
  } catch {
    // The server is not available; the last content stays with its time.
  }
}

export default function start() {
  setInterval(update, SECONDS * 1000);
}
