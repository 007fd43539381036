// Gives every shown text whose contrast to what is behind it is below WCAG AA, and how many texts were looked at.

const parse = (text) => {
  const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
  return [red, green, blue, alpha];
};

// relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
const luminance = (color) => {
  const [red, green, blue] = color.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

// the nearest opaque color behind an element; null where a picture or a gradient is in between
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    const color = parse(style.backgroundColor);
    if (color[3] === 1) return color;
    if (style.backgroundImage !== "none") return null;
  }
  return [255, 255, 255, 1];
};

const pale = [];
let looked = 0;
for (const element of document.querySelectorAll("body *")) {
  const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
  // cells of the table are tinted by a layer of their own, the live picture's texts stand on the picture
  if (!text || !element.checkVisibility() || element.closest(".sr, .view, td")) continue;
  const style = getComputedStyle(element);
  const behind = ground(element);
  if (!behind) continue;
  const [more, less] = [luminance(parse(style.color)), luminance(behind)].sort((one, other) => other - one);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  looked += 1;
  if ((more + 0.05) / (less + 0.05) < (large ? 3 : 4.5)) pale.push(`${element.tagName}.${element.className}: ${text}`);
}
return [pale, looked];
