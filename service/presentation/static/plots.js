"use strict";
// Draws every plot of the dashboard and the report in the colours of the page's style sheet.
const plots = (() => {
  const drawn = new Map();
  const PAPER = { "--ink": "#000000", "--soft": "#444444", "--line": "#d9d9d9", "--surface": "#ffffff" };

  function themed(layout, colour, family) {
    const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--soft"), automargin: true, fixedrange: true };
    return {
      autosize: true,
      showlegend: false,
      dragmode: false,
      margin: { l: 56, r: 12, t: 8, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family, size: 12.5 },
      hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      ...layout,
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  }

  /** A copy of a figure in black on white, with a legend; `caption` is the title of a vertical axis without one. */
  function onPaper({ data, layout = {} }, caption) {
    const yaxis = { title: { text: caption }, ...layout.yaxis };
    const showlegend = data.filter((trace) => trace.name && trace.showlegend !== false).length > 1;
    const white = { paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", margin: { l: 70, r: 20, t: 20, b: 60 } };
    const themedLayout = themed({ ...layout, yaxis }, (name) => PAPER[name], "Helvetica, Arial, sans-serif");
    return { data, layout: { ...themedLayout, ...white, showlegend } };
  }

  /** The figure that was last drawn into `element`. */
  function drawnIn(element) {
    return drawn.get(element);
  }

  /** Draws a plotly figure into `element`; `size` replaces the automatic size, as on paper. */
  function draw(element, figure, size = {}) {
    drawn.set(element, figure);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const layout = { ...themed(figure.layout ?? {}, colour, getComputedStyle(document.body).fontFamily), ...size };
    return Plotly.react(element, figure.data, layout, { displayModeBar: false, responsive: true });
  }

  /** Draws all plots again, after the colours or the data have changed. */
  function redraw(size) {
    for (const [element, figure] of drawn) draw(element, figure, size);
  }

  /** Draws the figures contained in the page: <script type="application/json" data-plot="id of the element">. */
  function drawAll(size) {
    for (const script of document.querySelectorAll("script[data-plot]")) {
      draw(document.getElementById(script.dataset.plot), JSON.parse(script.textContent), size);
    }
    return [...drawn.values()];
  }

  return { draw, redraw, drawAll, drawnIn, onPaper };
})();
