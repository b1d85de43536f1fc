// The grid of photos: only what is near the window is in the document.

const GROUP_NAMES = {
  nobody: "Nobody found",
  doubtful: "Doubtful",
  failed: "Failed",
  rejected: "Rejected",
  sure: "Good",
  pending: "Pending",
};
const VIEWS = {
  side: { narrowest: 500, panes: KINDS, caption: 62 },
  cutouts: { narrowest: 170, panes: ["cutout"], caption: 46 },
};
const GAP = 14;
const REST = 80; // ms without scrolling, after which pictures are loaded: those flown past are not
const BEYOND = 600; // pixels above and below the window that are ready before they are seen

let loading = 0;
let lastDraw = -REST;

const grid = {
  shown: [], // indices into `photos`, filtered and sorted
  cards: new Map(), // position in `shown` -> its element
  spare: [], // canvases of cards that are gone
  current: 0, // position of the card that keys act on
  columns: 1,
  width: 0,
  height: 0,
  view: "side",
};

function measure() {
  const view = VIEWS[grid.view];
  const whole = byId("grid").clientWidth;
  grid.columns = Math.max(1, Math.floor((whole + GAP) / (Math.min(view.narrowest, whole) + GAP)));
  grid.width = Math.floor((whole + GAP) / grid.columns) - GAP;
  grid.height = Math.round(grid.width / view.panes.length) + view.caption;
  const rows = Math.ceil(grid.shown.length / grid.columns);
  byId("grid").style.height = Math.max(0, rows * (grid.height + GAP)) + "px";
}

// Everything anew: after a filter, another order, another width.
function rebuild() {
  const hadFocus = byId("grid").contains(document.activeElement);
  for (const card of grid.cards.values()) drop(card);
  grid.cards.clear();
  grid.current = Math.max(0, Math.min(grid.current, grid.shown.length - 1));
  measure();
  draw();
  if (hadFocus) grid.cards.get(grid.current)?.focus({ preventScroll: true });
}

function draw() {
  const step = grid.height + GAP;
  const top = byId("grid").getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((-top - BEYOND) / step)) * grid.columns;
  const rows = Math.floor((window.innerHeight - top + BEYOND) / step) + 1;
  const last = Math.min(grid.shown.length, Math.max(0, rows) * grid.columns);
  for (const [position, card] of grid.cards) {
    const isKept = position === grid.current && card === document.activeElement;
    if ((position < first || position >= last) && !isKept) {
      drop(card);
      grid.cards.delete(position);
    }
  }
  for (let position = first; position < last; position++) {
    if (!grid.cards.has(position)) put(position);
  }
  clearTimeout(loading);
  if (performance.now() - lastDraw > REST) loadPictures();
  else loading = setTimeout(loadPictures, REST);
  lastDraw = performance.now();
}

// The pictures of the cards that are there.
function loadPictures() {
  for (const canvas of byId("grid").querySelectorAll("canvas:not([data-state])")) paint(canvas);
}

function drop(card) {
  card.remove();
  for (const canvas of card.querySelectorAll("canvas")) spare(canvas);
}

function put(position) {
  const card = cardOf(grid.shown[position]);
  const row = Math.floor(position / grid.columns);
  card.style.width = grid.width + "px";
  card.style.height = grid.height + "px";
  card.style.left = (position % grid.columns) * (grid.width + GAP) + "px";
  card.style.top = row * (grid.height + GAP) + "px";
  card.tabIndex = position === grid.current ? 0 : -1;
  card.dataset.position = position;
  card.setAttribute("aria-posinset", position + 1);
  card.setAttribute("aria-setsize", grid.shown.length);
  grid.cards.set(position, card);
  byId("grid").append(card);
}

function cardOf(index) {
  const group = groupOf(index);
  const name = nameOf(index);
  const panes = element("div", { className: "panes" });
  panes.append(...VIEWS[grid.view].panes.map((kind) => pane(index, kind)));
  if (stripLink(index)) panes.append(strip(index));
  const box = element("input", {
    type: "checkbox",
    className: "mark",
    checked: marks.has(index),
    tabIndex: -1,
    ariaLabel: "Mark " + name,
  });
  const folder = folderOf(index);
  const path = element("span", { className: "name", title: visible(sourceOf(index)) || name });
  if (folder && folder !== ".") path.append(element("bdi", { className: "folder" }, folder + "/"));
  path.append(element("bdi", {}, name));
  const card = element(
    "div",
    { className: "card " + group, role: "listitem", ariaLabel: name + ": " + GROUP_NAMES[group] },
    panes,
    element("div", { className: "line" }, element("label", { className: "box" }, box), path),
    element("div", { className: "line why" }, badge(index), element("bdi", {}, reason(index))),
  );
  card.classList.toggle("is-marked", marks.has(index));
  return card;
}

function badge(index) {
  const group = groupOf(index);
  const figure = group === "doubtful" ? " " + value(index, "doubt").toFixed(2) : "";
  return element("span", { className: "badge " + group }, GROUP_NAMES[group] + figure);
}

// What is behind a thumbnail, or stands in its place.
function pane(index, kind) {
  const shown = element("div", { className: "pane " + kind });
  shown.dataset.kind = kind;
  if (!hasThumbnail(index, kind)) empty(shown);
  return shown;
}

function empty(shown) {
  shown.classList.add("empty");
  shown.replaceChildren(element("span", {}, "no " + shown.dataset.kind));
}

// The thumbnails of a photo, over its panes. Browsers keep the pixels of image elements long after
// these are gone, half a gigabyte of them, and those of a canvas until garbage is collected: so they
// are on canvases that are used again.
function strip(index) {
  const canvas = grid.spare.pop() ?? element("canvas", { className: "strip", role: "img" });
  canvas.ariaLabel = VIEWS[grid.view].panes.join(", ") + " of " + nameOf(index);
  canvas.dataset.src = stripLink(index);
  return canvas;
}

async function paint(canvas) {
  const turn = (canvas.turn = {}); // the canvas may be another photo's once the pixels are there
  canvas.dataset.state = "loading";
  const pixels = await pixelsOf(canvas.dataset.src, VIEWS[grid.view].panes).catch(() => null);
  if (canvas.turn !== turn) {
    pixels?.close();
  } else if (pixels) {
    show(canvas, pixels);
  } else {
    for (const shown of canvas.parentNode.querySelectorAll(".pane")) empty(shown);
    spare(canvas);
  }
}

// Some pictures of a strip, which are neighbours in it.
async function pixelsOf(link, panes) {
  const image = new Image();
  await new Promise((done, failed) => {
    image.addEventListener("load", done);
    image.addEventListener("error", failed);
    image.src = link;
  });
  const side = image.naturalHeight;
  const left = KINDS.indexOf(panes[0]) * side;
  const pixels = await createImageBitmap(image, left, 0, panes.length * side, side);
  image.removeAttribute("src"); // at once rather than with the next garbage collection
  return pixels;
}

function show(canvas, pixels) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(pixels);
  canvas.dataset.state = "shown";
}

// Take a canvas away and let go of its pixels.
function spare(canvas) {
  canvas.turn = null;
  canvas.remove();
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(null);
  canvas.removeAttribute("data-src");
  canvas.removeAttribute("data-state");
  grid.spare.push(canvas);
}

// One line of why a photo is where it is.
function reason(index) {
  const coverage = value(index, "coverage");
  switch (groupOf(index)) {
    case "nobody":
      return value(index, "result") ? "the mask is empty" : "no person was found";
    case "doubtful":
      return percent(value(index, "doubt")) + " of what may be a person is not surely one";
    case "sure":
      return coverage === null ? "" : "person on " + percent(coverage) + " of the photo";
    case "pending":
      return "not done yet";
    default:
      return visible([value(index, "code"), value(index, "message")].filter(Boolean).join(": "));
  }
}

function select(position, { focus = true } = {}) {
  if (!grid.shown.length) return;
  const before = grid.cards.get(grid.current);
  if (before) before.tabIndex = -1;
  grid.current = Math.max(0, Math.min(position, grid.shown.length - 1));
  const step = grid.height + GAP;
  const top = byId("grid").getBoundingClientRect().top;
  const upper = top + Math.floor(grid.current / grid.columns) * step;
  const tools = document.querySelector(".tools").getBoundingClientRect();
  const free = Math.max(0, Math.min(tools.bottom, window.innerHeight / 2)) + GAP;
  const lowest = window.innerHeight - byId("marked").offsetHeight - GAP;
  if (upper < free) window.scrollBy(0, upper - free);
  else if (upper + grid.height > lowest) window.scrollBy(0, upper + grid.height - lowest);
  draw();
  const card = grid.cards.get(grid.current);
  if (!card) return;
  card.tabIndex = 0;
  if (focus) card.focus({ preventScroll: true });
}

let isDrawing = false;

function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw();
  });
}
