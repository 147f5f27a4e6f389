// What xterm.js 5.5 writes into style elements and style attributes, said in a way that our policy allows.
//
// Its renderer makes <style> elements and sets `style` attributes, which `style-src 'self'` forbids. A policy says
// nothing of sheets that scripts construct and of properties set one by one (CSP level 3, 8.1; CSSOM 6.2), so it is
// given a document whose elements do that instead.

function constructed(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (rules) => sheet.replaceSync(rules) });
  const remove = element.remove.bind(element);
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    remove();
  };
}

function unstyled(element) {
  const set = element.setAttribute.bind(element);
  element.setAttribute = (name, value) => (name === "style" ? (element.style.cssText = value) : set(name, value));
}

/** The document, as xterm.js is to see it. */
export const allowedDocument = new Proxy(document, {
  get(target, name) {
    const value = Reflect.get(target, name, target);
    if (name === "createElement") {
      return (tag) => {
        const element = document.createElement(tag);
        if (tag === "style") constructed(element);
        else unstyled(element);
        return element;
      };
    }
    return typeof value === "function" ? value.bind(target) : value;
  },
});
