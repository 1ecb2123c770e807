const { ColumnDataSource, Plotting } = Bokeh;
function stacked(times) {
  const found = { x: data.places };
  let base = data.places.map(() => 0);
  data.kinds.forEach((sizes, kind) => {
    const top = base.map((below, place) => below + sizes[place] * times);
    Object.assign(found, { [`base${kind}`]: base, [`top${kind}`]: top });
    base = top;
  });
  return found;
}
const curve = new ColumnDataSource({ data: stacked(1) });
const figure = Plotting.figure({ width: 1000, height: 300, tools: "hover", output_backend: "svg" });
data.kinds.forEach((_, kind) => figure.varea_step({
  x: { field: "x" }, y1: { field: `base${kind}` }, y2: { field: `top${kind}` }, source: curve, fill_color: data.colours[kind],
}));
await Plotting.show(figure, document.getElementById("curve"));
const dots = new ColumnDataSource({ data: data.dots });
const roofline = Plotting.figure({
  width: 1000, height: 300, x_axis_type: "log", y_axis_type: "log", tools: "hover", output_backend: "svg",
});
roofline.scatter({ x: { field: "x" }, y: { field: "y" }, source: dots, size: 7 });
await Plotting.show(roofline, document.getElementById("roofline"));
redraw.curve = async (times) => { curve.data = stacked(times); };
redraw.roofline = async (times) => { dots.data = moved(times); };
