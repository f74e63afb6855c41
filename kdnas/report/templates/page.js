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

  // Beside the text the plot has its place's height.
  const heightOf = (plot, height) => {
    const own = parseFloat(getComputedStyle(plot).height);
    return plot.closest(".top") && matchMedia("(min-width: 68rem)").matches ? own : height;
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
    figure.layout.height = heightOf(plot, figure.layout.height);
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
  // Commands go to the clipboard; a page from a file may have to go through a selection.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const said = document.getElementById("said");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await copy(button.dataset.copy);
    button.textContent = "Copied";
    said.textContent = "Copied: " + button.dataset.copy;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  // A click on a student shows the command that makes it.
  const pick = (key, point) => {
    const command = point.data.meta && point.data.meta.command;
    const place = document.querySelector(`[data-picked="${key}"]`);
    if (!place || !command || !point.customdata) return;
    const trial = point.customdata[0];
    const line = String(trial) === point.data.meta.winner ? point.data.meta.shipped : command + trial;
    const words = Object.assign(document.createElement("span"), { textContent: "Trial " + trial + ":" });
    const code = Object.assign(document.createElement("code"), { textContent: line });
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
    button.dataset.copy = line;
    button.setAttribute("aria-label", "Copy: " + line);
    place.replaceChildren(words, code, button);
  };

  // A sign that a table has more columns than fit.
  const mark = () => {
    for (const place of document.querySelectorAll(".scrolling")) {
      const frame = place.firstElementChild;
      const more = frame.scrollWidth > frame.clientWidth + 1;
      place.classList.toggle("scrolls", more);
      place.querySelector(".more").hidden = !more;
    }
  };
  addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true);
  mark();

  // A page of a run that goes on comes again, where and as it was read.
  const reload = Number(document.body.dataset.reload);
  const memory = "kdnas " + location.pathname;
  try {
    const kept = JSON.parse(sessionStorage.getItem(memory) || "{}");
    for (const [key, view] of Object.entries(kept)) {
      const button = document.querySelector(`button[data-section="${key}"][data-view="${view}"]`);
      if (button && figures[key] && figures[key][view]) button.click();
    }
  } catch { /* no storage for pages of files */ }
  if (reload) {
    setTimeout(() => {
      try { sessionStorage.setItem(memory, JSON.stringify(shown)); } catch { /* as above */ }
      location.reload();
    }, 1000 * reload);
  } else {
    try { sessionStorage.removeItem(memory); } catch { /* as above */ }
  }

  if (!Object.keys(figures).length) {
    document.documentElement.dataset.drawn = "true";
    return;
  }
  for (const query of [dark, narrow]) query.addEventListener("change", drawAll);
  drawAll().then(() => {
    for (const key of Object.keys(figures)) {
      const plot = document.getElementById("plot-" + key);
      if (plot.on) plot.on("plotly_click", (event) => pick(key, event.points[0]));
    }
    document.documentElement.dataset.drawn = "true";
  });
})();
