// Pieces of the page. Text only ever becomes a text node; what did not change is not touched, so that a selection stays.

export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (value == null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// A cell is text, or {text, tone, title, bar}: a bar is a share from 0 to 1, drawn under its text.
export function fill(table, caption, columns, rows, nothing) {
  if (!table.tHead) {
    table.append(
      node("caption", { class: "hidden" }, caption),
      node("thead", {}, node("tr", {}, ...columns.map((name) => heading(name)))),
      node("tbody"),
    );
  }
  const body = table.tBodies[0];
  const wanted = rows.length ? rows : [[{ text: nothing, span: columns.length }]];
  while (body.rows.length > wanted.length) body.deleteRow(-1);
  wanted.forEach((cells, index) => {
    let row = body.rows[index];
    if (row && row.cells.length !== cells.length) {
      row.replaceChildren();
    }
    if (!row) row = body.insertRow();
    cells.forEach((cell, column) => place(row, column, typeof cell === "object" ? cell : { text: cell }, columns));
  });
}

function heading(name) {
  const right = name.startsWith(">");
  return node("th", { scope: "col", class: right ? "number" : null }, right ? name.slice(1) : name);
}

function place(row, column, cell, columns) {
  let place = row.cells[column];
  if (!place) {
    place = column || cell.span ? node("td") : node("th", { scope: "row" });
    row.append(place);
    place.append(node("span"));
  }
  const [text] = place.children;
  set(text, cell.text);
  mark(text, "class", cell.chip ? "chip" : null);
  mark(place, "data-tone", cell.tone);
  mark(place, "title", cell.title);
  mark(place, "colspan", cell.span);
  mark(place, "class", cell.span ? "nothing" : columns[column].startsWith(">") ? "number" : null);
  meter(place, cell.bar);
}

function meter(place, share) {
  let bar = place.children[1];
  if (share == null) {
    bar?.remove();
    return;
  }
  if (!bar) {
    bar = node("span", { class: "meter", "aria-hidden": "true" }, node("span"));
    place.append(bar);
  }
  bar.firstChild.style.width = `${Math.max(0, Math.min(100, 100 * share)).toFixed(1)}%`;
}

export function tile(list, name, value, below, tone) {
  let item = list.querySelector(`[data-tile="${name}"]`);
  if (!item) {
    item = node("li", { class: "tile card", "data-tile": name });
    item.append(node("h3", {}, name), node("p", { class: "value" }), node("p", { class: "below" }));
    list.append(item);
  }
  set(item.children[1], value);
  set(item.children[2], below);
  mark(item, "data-tone", tone);
}
