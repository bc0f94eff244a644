"use strict";
{
  // In pixels; fits A4 and Letter. A plot cannot measure a sheet that does not exist yet.
  const PAPER_WIDTH = 620;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paper = window.matchMedia("print");
  const plots = [...document.querySelectorAll("script[data-plot]")].map((script) => ({
    element: document.getElementById(script.dataset.plot),
    figure: JSON.parse(script.textContent),
  }));

  function coloured(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--soft"), color: colour("--ink") };
    const ground = colour("--ground");
    return {
      ...layout,
      ...(paper.matches ? { width: PAPER_WIDTH, autosize: false } : { autosize: true }),
      font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: ground,
      plot_bgcolor: ground,
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  }

  function draw() {
    for (const { element, figure } of plots) {
      Plotly.react(element, figure.data, coloured(figure.layout), { displayModeBar: false, responsive: true });
    }
  }

  function show(trial, visible) {
    for (const { figure } of plots) {
      for (const trace of figure.data) if (trace.meta === trial) trace.visible = visible;
    }
    draw();
  }

  for (const box of document.querySelectorAll("input[data-trial]")) {
    box.addEventListener("change", () => show(Number(box.dataset.trial), box.checked));
  }
  dark.addEventListener("change", draw);
  paper.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not(.long)")) details.open = true;
  });
  draw();
}
