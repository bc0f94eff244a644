"use strict";
// Saves plots as SVG, PNG or CSV and tables as CSV; the buttons come from the macro `downloads` of figures.html.
const downloads = (() => {
  // PNG: 2880 pixels wide, which is 400 dpi at the width of a page.
  const SIZE = { width: 720, height: 480, scale: 4 };
  const SIGNED_NUMBERS = /^[+-][\d.]+( to [+-][\d.]+)?$/;

  /** An escaped CSV field that no spreadsheet interprets as a formula. */
  function field(value) {
    const text = String(value ?? "");
    const isFormula = /^[=+\-@\t\r]/.test(text) && typeof value !== "number" && !SIGNED_NUMBERS.test(text);
    return `"${(isFormula ? `'${text}` : text).replaceAll('"', '""')}"`;
  }

  /** Rows of values as CSV (RFC 4180). */
  function csv(rows) {
    return rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");
  }

  function save(name, type, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** A row per point: its series, its coordinates, and the limits of its error bars where the plot has any. */
  function plotRows({ data, layout }, caption) {
    const shown = data.filter((trace) => trace.visible !== false);
    const barred = ["x", "y"].filter((axis) => shown.some((trace) => trace[`error_${axis}`]));
    const titles = { x: layout.xaxis?.title?.text || "x", y: (layout.yaxis?.title?.text ?? caption) || "y" };
    const header = ["series", titles.x, titles.y, ...barred.flatMap((axis) => [`${titles[axis]} low`, `${titles[axis]} high`])];
    const point = (trace, i) => [
      trace.name,
      plain(trace.x[i]),
      plain(trace.y[i]),
      ...barred.flatMap((axis) => limits(trace[axis][i], trace[`error_${axis}`], i)),
    ];
    return [header, ...shown.flatMap((trace) => trace.x.map((_, i) => point(trace, i)))];
  }

  const plain = (value) => (typeof value === "string" ? value.replaceAll("<br>", " ") : value);

  function limits(value, bars, i) {
    return bars ? [value - bars.arrayminus[i], value + bars.array[i]] : ["", ""];
  }

  /** The cells of a table as text; an element with `data-value` has that value. */
  function tableRows(table) {
    return [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? text(cell)));
  }

  function tableBefore(place) {
    const before = place.previousElementSibling;
    return before.matches("table") ? before : before.querySelector("table");
  }

  function text(cell) {
    const nodes = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    const parts = [];
    while (nodes.nextNode()) parts.push(nodes.currentNode.data);
    const joined = parts.join(" ").replace(/\s+/g, " ").trim();
    return joined === "–" ? "" : joined;
  }

  function download(button) {
    const place = button.closest(".downloads");
    const name = `${document.body.dataset.files}-${place.dataset.name}`;
    const format = button.dataset.format;
    const figure = place.closest("figure");
    const caption = figure?.querySelector("figcaption").textContent;
    if (!figure) return save(`${name}.csv`, "text/csv", csv(tableRows(tableBefore(place))));
    const drawn = plots.drawnIn(figure.querySelector(".plot"));
    if (format === "csv") return save(`${name}.csv`, "text/csv", csv(plotRows(drawn, caption)));
    return Plotly.downloadImage(plots.onPaper(drawn, caption), { ...SIZE, format, filename: name });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-format]");
    if (button) download(button);
  });

  return { csv, save };
})();
