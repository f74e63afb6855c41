(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const shown = {};
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 37.5rem)");
  const config = {
    responsive: true,
    displaylogo: false,
    // A run's figures are nobody else's business: no button sends them anywhere.
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
  };

  // Figures name their colours as the style sheet does; plotly wants the values.
  const coloured = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[a-z]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  };

  const draw = (key) => {
    const plot = document.getElementById("plot-" + key);
    const figure = coloured(figures[key][shown[key]], getComputedStyle(document.documentElement));
    if (narrow.matches) {
      figure.layout.margin = { l: 36, r: 8, t: 16, b: 40, ...figure.layout.margin };
      figure.layout.legend = { font: { size: 11 }, ...figure.layout.legend };
      figure.layout.height += 40;
    }
    return Plotly.react(plot, figure.data, figure.layout, {
      ...config,
      displayModeBar: narrow.matches ? false : "hover",
    });
  };
  const drawAll = () => Promise.all(Object.keys(figures).map(draw));

  for (const key of Object.keys(figures)) shown[key] = Object.keys(figures[key])[0];
  for (const button of document.querySelectorAll("button[data-view]")) {
    button.addEventListener("click", () => {
      const { section, view } = button.dataset;
      shown[section] = view;
      for (const other of document.querySelectorAll(`button[data-section="${section}"]`)) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      for (const note of document.querySelectorAll(`[data-note][data-section="${section}"]`)) {
        note.hidden = note.dataset.note !== view;
      }
      draw(section);
    });
  }
  if (!Object.keys(figures).length) return;
  for (const query of [dark, narrow]) query.addEventListener("change", drawAll);
  drawAll().then(() => { document.documentElement.dataset.drawn = "true"; });
})();
