// Marked photos, and their list for `hbseg segment --from-file`.

const marks = new Set();
const marksKey = "marks " + location.pathname;

function recallMarks() {
  const names = new Set(remembered(marksKey, []));
  if (!names.size) return;
  for (let index = 0; index < photos.length; index++) {
    if (names.has(sourceOf(index))) marks.add(index);
  }
}

function mark(index, isMarked) {
  if (isMarked) marks.add(index);
  else marks.delete(index);
  showMarks();
}

function markAll(indices, isMarked) {
  for (const index of indices) {
    if (isMarked) marks.add(index);
    else marks.delete(index);
  }
  showMarks();
}

function showMarks() {
  for (const [position, card] of grid.cards) {
    const isMarked = marks.has(grid.shown[position]);
    card.classList.toggle("is-marked", isMarked);
    card.querySelector(".mark").checked = isMarked;
  }
  byId("marked").hidden = !marks.size;
  byId("marked-count").textContent = marks.size.toLocaleString("en") + " marked";
  remember(marksKey, [...marks].map(sourceOf));
  showMarkInViewer();
}

// The names that a list can hold; `told` says what of them it cannot.
function markedNames() {
  const names = [...marks].sort((one, other) => one - other).map(sourceOf);
  const kept = names.filter(Boolean);
  const lost = names.length - kept.length;
  const told = lost ? " " + counted(lost, "photo") + " from stdin cannot be in a list." : "";
  return { names: kept, told };
}

const holdsLineEnd = (name) => /\n|\r$/.test(name);
const isNoText = (name) => /[\udc80-\udcff]/.test(name.replace(/[\ud800-\udbff][\udc00-\udfff]/g, ""));

async function copyList() {
  const { names, told } = markedNames();
  const odd = names.filter((name) => holdsLineEnd(name) || isNoText(name)).length;
  if (odd) {
    tell(counted(odd, "name") + " cannot be copied as text: download the list instead.");
    return;
  }
  const text = names.map((name) => name + "\n").join("");
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied " + counted(names.length, "name") + ". Put them into a file and run: " +
      "hbseg segment --from-file FILE -o OUT." + told);
  } catch {
    byId("list-text").value = text;
    byId("list").showModal();
    byId("list-text").select();
  }
}

function downloadList() {
  const { names, told } = markedNames();
  const needsNul = names.some(holdsLineEnd);
  const end = needsNul ? 0 : 10;
  const bytes = new Uint8Array(names.flatMap((name) => [...bytesOf(name), end]));
  const address = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const name = needsNul ? "marked-nul.txt" : "marked.txt";
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  tell("Saved " + counted(names.length, "name") + ". Run: hbseg segment --from-file " + name +
    (needsNul ? " -0" : "") + " -o OUT." + told);
}

function startMarks() {
  byId("copy").addEventListener("click", copyList);
  byId("download").addEventListener("click", downloadList);
  byId("unmark").addEventListener("click", () => markAll([...marks], false));
}
