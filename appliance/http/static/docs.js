// Shows openapi.json; text goes into the page as text only, never as markup.
const METHODS = ["get", "post", "put", "patch", "delete"];

function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// What stands between backticks, one or two, is code: nodes to append, every one of them made of text.
function prose(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(/(`+)([^`]+)\1(?!`)/g)) {
    if (found[1].length > 2 || text[found.index - 1] === "`") continue;
    nodes.push(text.slice(end, found.index), make("code", {}, found[2]));
    end = found.index + found[0].length;
  }
  return [...nodes, text.slice(end)];
}

function resolved(schema, doc, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > 6) return schema;
  if (Array.isArray(schema)) return schema.map((one) => resolved(one, doc, depth + 1));
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return resolved((doc.components.schemas || {})[name], doc, depth + 1);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(value, doc, depth + 1)]));
}

function schemaBlock(title, content, doc) {
  const [type, media] = Object.entries(content || {})[0] || [];
  if (!type) return null;
  const text = media.schema && Object.keys(media.schema).length ? JSON.stringify(resolved(media.schema, doc), null, 2) : "";
  return make("div", {}, make("h3", {}, `${title} (${type})`), text ? make("pre", {}, text) : null);
}

function parameterTable(parameters) {
  if (!parameters || !parameters.length) return null;
  const rows = parameters.map((one) => make("tr", {},
    make("td", { class: "path" }, one.name), make("td", {}, one.in), make("td", {}, one.required ? "required" : ""),
    make("td", {}, make("code", {}, JSON.stringify(one.schema || {}))), make("td", {}, ...prose(one.description || ""))));
  return make("table", {}, make("tbody", {}, ...rows));
}

function endpoint(path, method, operation, doc) {
  const body = make("div", {});
  const node = make("details", { "data-words": `${method} ${path} ${operation.summary || ""}`.replaceAll("`", "").toLowerCase() },
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("span", { class: "path" }, path),
      make("span", { class: "about" }, ...prose(operation.summary || ""))), body);
  node.addEventListener("toggle", () => {
    if (!node.open || body.childNodes.length) return;
    if (operation.description) body.append(make("pre", {}, ...prose(operation.description)));
    for (const part of [parameterTable(operation.parameters),
      schemaBlock("Body", (operation.requestBody || {}).content, doc)]) if (part) body.append(part);
    for (const [status, answer] of Object.entries(operation.responses || {})) {
      body.append(make("p", {}, make("strong", {}, status), " ", ...prose(answer.description || "")));
      if (status < "300") body.append(schemaBlock("Answer", answer.content, doc) || "");
    }
  });
  return node;
}

function show(doc) {
  const main = document.getElementById("endpoints");
  main.replaceChildren();
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of METHODS) {
      if (!item[method]) continue;
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(endpoint(path, method, item[method], doc));
    }
  }
  for (const [tag, nodes] of groups) main.append(make("section", {}, make("h2", {}, tag), ...nodes));
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of document.querySelectorAll("details")) {
    node.hidden = !words.every((word) => node.dataset.words.includes(word));
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = ![...section.querySelectorAll("details")].some((node) => !node.hidden);
  }
}

const asked = document.getElementById("filter");
asked.addEventListener("input", () => filter(asked.value));
try {
  const answer = await fetch("/openapi.json", { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  show(await answer.json());
  filter(asked.value); // typed while the description was on its way, or kept by a reload
} catch (failure) {
  document.getElementById("endpoints").replaceChildren(make("p", {}, `The description could not be read: ${failure.message}`));
}
