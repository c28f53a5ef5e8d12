"use strict";
(async () => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const figures = [...document.querySelectorAll(".figure")].map((at) => [at, JSON.parse(at.nextElementSibling.textContent)]);

  async function inflated(id) {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (one) => one.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function withStyle(own, data) {
    const axis = { zeroline: false, gridcolor: style("--line"), linecolor: style("--line"), zerolinecolor: style("--faint"), fixedrange: narrow.matches };
    const layout = {
      height: 360,
      hovermode: "closest",
      ...own,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 11 : 13, color: style("--ink") },
      hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--line"), font: { color: style("--ink") } },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", xanchor: "left", ...own.legend },
      margin: { l: narrow.matches ? 45 : 60, r: 15, t: data.some((trace) => trace.name) ? 30 : 8, b: 50, pad: 4 },
      dragmode: narrow.matches ? false : "zoom",
    };
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = { ...axis, automargin: true, ...own[name] };
      if (narrow.matches && layout[name].nticks) layout[name].nticks = 4;
      layout[name].title = { ...(layout[name].title || {}), standoff: 10 };
    }
    return layout;
  }

  async function draw() {
    for (const [at, { data, layout }] of figures) {
      await Plotly.react(at, data, withStyle(layout, data), { responsive: true, displayModeBar: false });
    }
    document.documentElement.dataset.drawn = String(figures.length);
  }

  try {
    const script = document.createElement("script");
    script.textContent = await inflated("plotly");
    document.head.append(script);
    await draw();
    for (const query of [dark, narrow]) query.addEventListener("change", draw);
  } catch (error) {
    const trouble = document.getElementById("trouble");
    trouble.textContent = `The figures could not be drawn (${error.message}); the tables hold the same numbers. Figures need a browser of 2023 or later.`;
    trouble.hidden = false;
    throw error;
  }
})();
