// One photo, large: the slider between photo and cutout, or all three pictures side by side.

const viewer = { mode: "slider", wanted: 0 };

const doubtLimit = data.doubtful.toFixed(2);
const ABOUT_DOUBT =
  "Doubt is the part of what may be a person (confidence above 0.25) that is not surely one " +
  "(above 0.6): 0 is a mask without uncertain places. Masks with a doubt above " + doubtLimit +
  " are flagged, about one photo in ten. They overlap the true outline by 0.70 on average " +
  "(intersection over union), the others by 0.94.";

// Why a photo is where it is, in full.
function explained(index) {
  const doubt = value(index, "doubt");
  switch (groupOf(index)) {
    case "nobody":
      return "Nobody was found" + (value(index, "result") ? ": the mask is empty" : "") +
        ". If somebody is in the photo, try a crop in which the person is larger, or another engine.";
    case "doubtful":
      return `Flagged because its doubt is ${doubt.toFixed(2)}, above ${doubtLimit}: ` +
        `${percent(doubt)} of the area that may be a person is not surely one. Compare the ` +
        "outline with the photo: hair, hands, things held, and people at the edge of the photo.";
    case "sure":
      return doubt === null
        ? "Done. The engine gave no figure of doubt."
        : `Not flagged: its doubt is ${doubt.toFixed(2)}, not above ${doubtLimit}.`;
    case "pending":
      return "Not done yet: run the same hbseg segment command again to continue.";
    default:
      return visible(value(index, "message") || "");
  }
}

function openViewer() {
  if (!grid.shown.length) return;
  showInViewer();
  if (!byId("viewer").open) byId("viewer").showModal();
  byId("viewer").focus();
}

function closeViewer() {
  byId("viewer").close();
}

function stepViewer(by) {
  const next = grid.current + by;
  if (next < 0 || next >= grid.shown.length) return;
  select(next, { focus: false });
  showInViewer();
}

function showInViewer() {
  const index = grid.shown[grid.current];
  byId("position").textContent =
    (grid.current + 1).toLocaleString("en") + " of " + grid.shown.length.toLocaleString("en");
  byId("earlier").disabled = grid.current === 0;
  byId("later").disabled = grid.current === grid.shown.length - 1;
  byId("viewer").ariaLabel = nameOf(index);
  const canCompare = hasThumbnail(index, "photo") && hasThumbnail(index, "cutout");
  const mode = canCompare ? viewer.mode : "side";
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.ariaPressed = String(button.dataset.mode === mode);
    button.disabled = button.dataset.mode === "slider" && !canCompare;
  }
  viewer.wanted += 1;
  byId("compare").hidden = mode !== "slider";
  byId("side").hidden = mode !== "side";
  byId("side").replaceChildren();
  forget(byId("before"), byId("after-image"));
  if (mode === "slider") compare(index);
  else byId("side").append(...KINDS.map((kind) => panel(index, kind)));
  byId("about").replaceChildren(...about(index));
}

function forget(...images) {
  for (const image of images) image.removeAttribute("src");
}

function compare(index) {
  const [width, height] = [value(index, "width") || 4, value(index, "height") || 3];
  byId("compare").style.setProperty("--ratio", width / height);
  byId("compare").style.aspectRatio = width + " / " + height;
  byId("before").alt = "photo " + nameOf(index);
  byId("after-image").alt = "cutout of " + nameOf(index);
  sharpen(byId("before"), index, "photo");
  sharpen(byId("after-image"), index, "cutout");
  slide(50);
}

function slide(percentage) {
  const at = Math.max(0, Math.min(100, percentage));
  byId("slider").value = at;
  byId("compare").style.setProperty("--at", at + "%");
}

function panel(index, kind) {
  const made = pane(index, kind);
  if (hasThumbnail(index, kind)) {
    const image = element("img", { alt: kind + " of " + nameOf(index) });
    image.addEventListener("error", () => empty(made));
    made.append(image);
    sharpen(image, index, kind);
  }
  return element("figure", {}, made, element("figcaption", {}, kind));
}

// The thumbnail at once, and the picture itself as soon as it is there, if the browser can show it.
function sharpen(image, index, kind) {
  const turn = viewer.wanted;
  const full = kind === "photo" ? photoLink(index) : resultLink(index, kind + "s");
  image.className = "strip " + kind;
  image.src = stripLink(index);
  if (!full || !full.startsWith("file:") && /^https?:/i.test(full)) return; // loads nothing from outside
  const whole = new Image();
  whole.src = full;
  whole.decode().then(
    () => {
      if (turn !== viewer.wanted || !byId("viewer").open) return;
      image.className = "";
      image.src = whole.src;
    },
    () => {}, // gone, or in a format of cameras: the thumbnail stays
  );
}

function about(index) {
  const group = groupOf(index);
  const parts = [
    element("h2", {}, element("bdi", {}, nameOf(index))),
    element("p", { className: "path" }, element("bdi", {}, folderOf(index))),
    element("p", {}, badge(index), " ", element("bdi", {}, visible(value(index, "code") || ""))),
    element("p", { className: "reason" }, element("bdi", {}, explained(index))),
    markButton(index),
    figuresOf(index),
    links(index),
  ];
  if (group === "doubtful" || group === "sure") {
    parts.push(
      element("details", {}, element("summary", {}, "What is doubt?"), element("p", {}, ABOUT_DOUBT)),
    );
  }
  return parts;
}

function markButton(index) {
  const button = element("button", { type: "button", id: "viewer-mark", className: "wide", title: "Space" });
  button.addEventListener("click", () => mark(index, !marks.has(index)));
  nameMark(button, index);
  return button;
}

function nameMark(button, index) {
  button.textContent = marks.has(index) ? "Marked: remove the mark" : "Mark";
  button.ariaPressed = String(marks.has(index));
}

function showMarkInViewer() {
  const button = byId("viewer-mark");
  if (button && byId("viewer").open) nameMark(button, grid.shown[grid.current]);
}

function figuresOf(index) {
  const rows = [
    ["size", value(index, "width") && value(index, "width") + " \u00d7 " + value(index, "height")],
    ["person", value(index, "coverage") !== null && percent(value(index, "coverage")) + " of the photo"],
    ["doubt", value(index, "doubt") !== null && value(index, "doubt").toFixed(2)],
    ["engine", value(index, "engine") && visible(value(index, "engine"))],
    ["calls", value(index, "attempts") || null],
    ["time", value(index, "elapsed") !== null && duration(value(index, "elapsed") / 1000)],
    ["in the engine", value(index, "time_used") !== null && duration(value(index, "time_used") / 1000)],
  ];
  const list = element("dl");
  for (const [name, text] of rows) {
    if (text) list.append(element("dt", {}, name), element("dd", {}, element("bdi", {}, String(text))));
  }
  return list;
}

function links(index) {
  const list = element("p", { className: "links" });
  const addresses = [
    ["photo", photoLink(index)],
    ["cutout", resultLink(index, "cutouts")],
    ["mask", resultLink(index, "masks")],
  ];
  for (const [name, address] of addresses) {
    if (address) list.append(element("a", { href: address, target: "_blank", rel: "noopener" }, name), " ");
  }
  return list;
}

function chooseMode(mode) {
  viewer.mode = mode;
  remember("mode", mode);
  showInViewer();
}

function startViewer() {
  viewer.mode = remembered("mode", "slider") === "side" ? "side" : "slider";
  byId("slider").addEventListener("input", (event) => slide(Number(event.target.value)));
  byId("earlier").addEventListener("click", () => stepViewer(-1));
  byId("later").addEventListener("click", () => stepViewer(1));
  byId("close").addEventListener("click", closeViewer);
  byId("viewer").addEventListener("close", () => {
    viewer.wanted += 1;
    forget(byId("before"), byId("after-image"));
    byId("side").replaceChildren();
    select(grid.current);
  });
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.addEventListener("click", () => chooseMode(button.dataset.mode));
  }
}
