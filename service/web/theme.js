"use strict";
// The colours that the dashboard remembers, otherwise those of the system; Swagger UI has the class `dark-mode`.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Without storage, the system's setting applies.
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.classList.toggle("dark-mode", dark);
}
