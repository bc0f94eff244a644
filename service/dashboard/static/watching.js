// The system page looks again by itself, unless someone is reading in what would be replaced.

const SECONDS = 10;

async function look() {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement) || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (fresh) live.replaceChildren(...fresh.childNodes);
  } catch {
    // The server is away; what was last seen stays, with its time.
  }
}

export default function start() {
  setInterval(look, SECONDS * 1000);
}
