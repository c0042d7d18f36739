// Elements made from data: text goes in as text nodes only, so that nothing a device says can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return the element of the page with this ID. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return an element TAG with ATTRIBUTES (functions are listeners, null and false are left out) and CHILDREN. */
export function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function drawing(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Set the text of NODE if it says something else. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
