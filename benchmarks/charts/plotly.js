const stacked = (times) => data.kinds.map((sizes, kind) => ({
  x: data.places, y: sizes.map((size) => size * times), stackgroup: "all", line: { shape: "hvh", width: 0 },
  fillcolor: data.colours[kind],
}));
const points = (times) => [{ ...moved(times), text: data.dots.name, mode: "markers" }];
const log = { xaxis: { type: "log" }, yaxis: { type: "log" }, width: 1000, height: 300 };
await Plotly.newPlot("curve", stacked(1), { width: 1000, height: 300 });
await Plotly.newPlot("roofline", points(1), log);
redraw.curve = (times) => Plotly.react("curve", stacked(times), { width: 1000, height: 300 });
redraw.roofline = (times) => Plotly.react("roofline", points(times), log);
