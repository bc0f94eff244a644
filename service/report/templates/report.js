"use strict";
{
  // Pixels that fit on A4 and Letter: a plot cannot measure the paper before it is printed.
  const PAPER_WIDTH = 620;
  const paper = window.matchMedia("print");
  const size = () => (paper.matches ? { width: PAPER_WIDTH, autosize: false } : {});
  const redraw = () => plots.redraw(size());
  const figures = plots.drawAll(size());
  // A report that was passed on as a file has no dashboard.
  document.querySelector(".back").hidden = location.protocol === "file:";

  function show(trial, visible) {
    for (const figure of figures) {
      for (const trace of figure.data) if (trace.meta === trial) trace.visible = visible;
    }
    redraw();
  }

  for (const box of document.querySelectorAll("input[data-trial]")) {
    box.addEventListener("change", () => show(Number(box.dataset.trial), box.checked));
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  paper.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not(.long)")) details.open = true;
  });
}
