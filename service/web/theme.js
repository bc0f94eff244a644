"use strict";
// The theme chosen on the dashboard, otherwise that of the system; `dark-mode` is a class of Swagger UI.
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
