const rows = (times) => data.kinds.flatMap((sizes, kind) => sizes.map((size, place) => ({ place, kind, size: size * times })));
const points = ({ x, y, name }) => x.map((_, place) => ({ x: x[place], y: y[place], name: name[place] }));
const shape = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: 900, height: 240 };
const log = (field) => ({ field, type: "quantitative", scale: { type: "log" } });
const options = { renderer: "svg", actions: false, ast: true };
const curve = await vegaEmbed("#curve", {
  ...shape, data: { name: "table", values: rows(1) }, mark: { type: "area", interpolate: "step" },
  encoding: {
    x: { field: "place", type: "quantitative" }, y: { field: "size", type: "quantitative", stack: true },
    color: { field: "kind", type: "nominal" },
  },
}, options);
const roofline = await vegaEmbed("#roofline", {
  ...shape, data: { name: "table", values: points(data.dots) }, mark: "point",
  encoding: { x: log("x"), y: log("y"), tooltip: { field: "name" } },
}, options);
redraw.curve = (times) => curve.view.data("table", rows(times)).runAsync();
redraw.roofline = (times) => roofline.view.data("table", points(moved(times))).runAsync();
