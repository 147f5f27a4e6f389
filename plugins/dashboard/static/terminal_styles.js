// What xterm.js 5.5 writes into style elements and style attributes, said in a way that our policy allows.
//
// Its renderer makes <style> elements and sets `style` attributes, which `style-src 'self'` forbids. A policy says
// nothing of sheets that scripts construct and of properties that they set (CSP level 3, 6.7; CSSOM 6.2): elements that
// this page's document makes from here on do that instead.

/** An element that stands where a <style> would; what is written into it becomes a sheet. */
function sheetHolder(element) {
  const sheet = new CSSStyleSheet();
  element.hidden = true;
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (rules) => sheet.replaceSync(rules) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

function styledByProperties(element) {
  element.setAttribute = (name, value) => (name === "style" ? (element.style.cssText = value) : Element.prototype.setAttribute.call(element, name, value));
  return element;
}

/** See to it that the emulator can be made; to be called before it is. */
export function allowStyles() {
  const make = document.createElement.bind(document);
  document.createElement = (tag, options) => {
    if (tag === "style") return sheetHolder(make("i"));
    return tag === "span" ? styledByProperties(make(tag)) : make(tag, options);
  };
}
