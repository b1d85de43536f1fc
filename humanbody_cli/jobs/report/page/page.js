// The page: filters, order, keys. Last, because it starts everything.

const KEYS = [
  ["\u2190 \u2191 \u2192 \u2193", "another photo"],
  ["Enter", "open it large"],
  ["Space", "mark it, or remove its mark"],
  ["a", "mark all that are shown"],
  ["/", "search"],
  ["b", "another background"],
  ["s", "slider or side by side (in the large view)"],
  ["[ ]", "move the divider (in the large view)"],
  ["t", "light or dark"],
  ["Esc", "close"],
  ["?", "this help"],
];
const filter = { group: "all", text: "", folder: "", code: "", order: "doubt" };
let haystack = null;

function searchable() {
  haystack ??= photos.map((_, index) => {
    const parts = [folderOf(index), nameOf(index), value(index, "code"), value(index, "message")];
    return parts.filter(Boolean).join("/").normalize("NFC").toLowerCase();
  });
  return haystack;
}

const collator = new Intl.Collator(undefined, { numeric: true });
const descending = (name) => (a, b) => (value(b, name) ?? -1) - (value(a, name) ?? -1);
const ORDERS = {
  doubt: null, // the order of the data
  name: (a, b) => collator.compare(folderOf(a), folderOf(b)) || collator.compare(nameOf(a), nameOf(b)),
  small: (a, b) => (value(a, "coverage") ?? 2) - (value(b, "coverage") ?? 2),
  large: descending("coverage"),
  slow: descending("elapsed"),
  latest: descending("finished"),
};

function apply() {
  const words = filter.text.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
  const texts = words.length ? searchable() : null;
  const shown = [];
  for (let index = 0; index < photos.length; index++) {
    if (filter.group !== "all" && groupOf(index) !== filter.group) continue;
    if (filter.folder !== "" && value(index, "folder") !== Number(filter.folder)) continue;
    if (filter.code !== "" && value(index, "code") !== filter.code) continue;
    if (texts && !words.every((word) => texts[index].includes(word))) continue;
    shown.push(index);
  }
  const order = ORDERS[filter.order];
  if (order) shown.sort(order);
  grid.shown = shown;
  grid.current = 0;
  byId("none").hidden = shown.length > 0;
  for (const button of byId("groups").children) {
    button.ariaPressed = String(button.dataset.group === filter.group);
  }
  rebuild();
}

// After a change of the filters the first photo is in sight again.
function applyFromTop() {
  const tools = document.querySelector(".tools");
  const isScrolled = byId("grid").getBoundingClientRect().top < tools.getBoundingClientRect().bottom;
  apply();
  if (isScrolled) select(0, { focus: false });
}

function startGroups() {
  const counts = Object.fromEntries(data.groups.map((group) => [group, 0]));
  for (let index = 0; index < photos.length; index++) counts[groupOf(index)] += 1;
  const all = [["all", "All", photos.length], ...data.groups.map((group) => [group, GROUP_NAMES[group], counts[group]])];
  for (const [group, name, count] of all) {
    if (!count && group !== "all") continue;
    const button = element(
      "button",
      { type: "button", className: "chip " + group, "data-group": group },
      name + " ",
      element("b", {}, count.toLocaleString("en")),
    );
    button.addEventListener("click", () => {
      filter.group = group;
      applyFromTop();
    });
    byId("groups").append(button);
  }
  summarise();
}

function summarise() {
  const parts = [`${data.done.toLocaleString("en")} of ${counted(photos.length, "photo")} done`];
  if (data.calls) parts.push(counted(data.calls, "call"));
  if (data.runs.length) parts.push("last run " + when(data.runs[data.runs.length - 1].started));
  byId("summary").textContent = parts.join(" \u00b7 ");
}

function fill(select, first, options) {
  select.append(element("option", { value: "" }, first));
  for (const [content, text] of options) select.append(element("option", { value: content }, text));
}

function startChoices() {
  const perFolder = new Map();
  const perCode = new Map();
  for (let index = 0; index < photos.length; index++) {
    const [folder, code] = [value(index, "folder"), value(index, "code")];
    perFolder.set(folder, (perFolder.get(folder) ?? 0) + 1);
    if (code) perCode.set(code, (perCode.get(code) ?? 0) + 1);
  }
  const named = [...perFolder].map(([folder, count]) => [folder, visible(data.folders[folder][1]) || "stdin", count]);
  named.sort((one, other) => collator.compare(one[1], other[1]));
  fill(byId("folder"), "all folders", named.map(([folder, text, count]) => [folder, `${text} (${count})`]));
  const codes = [...perCode].sort((one, other) => other[1] - one[1]);
  fill(byId("code"), "all codes", codes.map(([code, count]) => [code, `${visible(code)} (${count})`]));
  byId("folder-choice").hidden = named.length < 2;
  byId("code-choice").hidden = !codes.length;
  for (const [id, name] of [["folder", "folder"], ["code", "code"], ["sort", "order"]]) {
    byId(id).addEventListener("change", (event) => {
      filter[name] = event.target.value;
      applyFromTop();
    });
  }
}

function startTools() {
  let waiting = 0;
  byId("search").addEventListener("input", (event) => {
    filter.text = event.target.value;
    clearTimeout(waiting);
    waiting = setTimeout(applyFromTop, photos.length > 2000 ? 120 : 0);
  });
  byId("view").addEventListener("change", (event) => showView(event.target.value));
  byId("theme").addEventListener("click", toggleTheme);
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("reset").addEventListener("click", showAll);
}

function showAll() {
  Object.assign(filter, { group: "all", text: "", folder: "", code: "" });
  for (const id of ["search", "folder", "code"]) byId(id).value = "";
  applyFromTop();
}

function showView(view) {
  grid.view = view in VIEWS ? view : "side";
  byId("view").value = grid.view;
  byId("grid").classList.toggle("is-dense", grid.view !== "side");
  remember("view", grid.view);
  rebuild();
}

function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function toggleTheme() {
  const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
  const theme = isDark ? "light" : "dark";
  showTheme(theme);
  remember("theme", theme);
}

function startGrid() {
  const positionOf = (event) => {
    const card = event.target.closest(".card");
    return card ? Number(card.dataset.position) : null;
  };
  byId("grid").addEventListener("click", (event) => {
    const position = positionOf(event);
    if (position === null) return;
    if (event.target.closest(".box")) {
      if (event.target.matches(".mark")) mark(grid.shown[position], event.target.checked);
      return;
    }
    select(position);
    openViewer();
  });
  byId("grid").addEventListener("focusin", (event) => {
    const position = positionOf(event);
    if (position !== null && position !== grid.current) select(position, { focus: false });
  });
  window.addEventListener("scroll", drawSoon, { passive: true });
  new ResizeObserver(() => {
    if (byId("grid").clientWidth !== grid.measured) {
      grid.measured = byId("grid").clientWidth;
      rebuild();
    }
  }).observe(byId("grid"));
}

const isTyping = (target) =>
  target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (byId("help").open || byId("list").open) return;
  const act = byId("viewer").open ? viewerKey(event) : gridKey(event);
  if (!act) return;
  event.preventDefault();
  act();
}

function viewerKey(event) {
  const isSlider = event.target.id === "slider";
  const isButton = event.target.closest("button, a, summary");
  const index = grid.shown[grid.current];
  const moved = (by) => () => slide(Number(byId("slider").value) + by);
  const acts = {
    ArrowLeft: isSlider ? moved(-2) : () => stepViewer(-1),
    ArrowRight: isSlider ? moved(2) : () => stepViewer(1),
    " ": isButton ? null : () => mark(index, !marks.has(index)),
    "[": moved(-5),
    "]": moved(5),
    s: () => chooseMode(viewer.mode === "slider" ? "side" : "slider"),
    b: nextBackdrop,
    t: toggleTheme,
    "?": () => byId("help").showModal(),
  };
  return acts[event.key];
}

function gridKey(event) {
  const acts = {
    "/": () => byId("search").focus(),
    "?": () => byId("help").showModal(),
    a: () => markAll(grid.shown, true),
    b: nextBackdrop,
    t: toggleTheme,
  };
  const isElsewhere = event.target !== document.body && !event.target.closest(".card");
  if (isElsewhere || acts[event.key]) return acts[event.key];
  const hasFocus = event.target !== document.body;
  const index = grid.shown[grid.current];
  const page = Math.max(1, Math.floor(window.innerHeight / (grid.height + GAP)) - 1) * grid.columns;
  const move = (by) => () => select(hasFocus ? grid.current + by : grid.current);
  const moves = {
    ArrowLeft: move(-1),
    ArrowRight: move(1),
    ArrowUp: move(-grid.columns),
    ArrowDown: move(grid.columns),
    PageUp: hasFocus && move(-page),
    PageDown: hasFocus && move(page),
    Home: hasFocus && (() => select(0)),
    End: hasFocus && (() => select(grid.shown.length - 1)),
    Enter: hasFocus && openViewer,
    " ": hasFocus && grid.shown.length && (() => mark(index, !marks.has(index))),
  };
  return moves[event.key];
}

function start() {
  byId("out").textContent = visible(data.out);
  byId("doubt-help").textContent = ABOUT_DOUBT;
  for (const [key, does] of KEYS) {
    byId("keys").append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, does));
  }
  showTheme({ light: "light", dark: "dark" }[remembered("theme", "")]);
  recallMarks();
  startGroups();
  startChoices();
  startTools();
  startBackdrop();
  startMarks();
  startViewer();
  startNumbers();
  grid.view = remembered("view", "side") in VIEWS ? remembered("view", "side") : "side";
  byId("view").value = grid.view;
  byId("grid").classList.toggle("is-dense", grid.view !== "side");
  grid.measured = byId("grid").clientWidth;
  apply();
  startGrid();
  if (marks.size) showMarks();
  document.addEventListener("keydown", onKey);
}

start();
