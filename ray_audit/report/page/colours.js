// Okabe and Ito's palette, told apart by most colour-blind people; more classes get further hues
// at two lightnesses. The same class has the same colour everywhere.
const okabeIto = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c6bb1"];

function classColour(index) {
  if (index == null || index < 0) return "#9aa0a6";
  if (index < okabeIto.length) return okabeIto[index];
  const turn = (index * 137.508) % 360;
  return `hsl(${turn.toFixed(0)} 55% ${index % 2 ? 42 : 62}%)`;
}

const classIndex = new Map(report.run.classes.map((name, index) => [name, index]));
const colourOf = (name) => classColour(classIndex.get(name));

function swatch(name) {
  const mark = make("span", { class: "swatch" });
  mark.style.background = colourOf(name);
  return mark;
}

const rgbCache = new Map();
function rgbOf(colour) {
  if (!rgbCache.has(colour)) {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    rgbCache.set(colour, context.getImageData(0, 0, 1, 1).data.slice(0, 3));
  }
  return rgbCache.get(colour);
}

// Loss as colour: pale to dark blue, readable without hue.
function heat(fraction) {
  const t = Math.min(1, Math.max(0, fraction));
  return [Math.round(247 - 239 * t), Math.round(251 - 203 * t), Math.round(255 - 148 * t)];
}
