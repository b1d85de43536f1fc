const root = document.documentElement;
const at = (id) => document.getElementById(id);
const isKeyless = root.dataset.keyless === "yes";

let shown = null; // what `showResult` was given last
let told = null; // what `tell` was given last
let attempt = null; // the AbortController of the photo under way
let links = []; // addresses of pictures in memory

/** Put everything into a language. */
function speak(chosen) {
  language = chosen;
  root.lang = TAGS[chosen];
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = say(one.dataset.word);
  for (const one of document.querySelectorAll("[data-label]")) {
    one.ariaLabel = one.title = say(one.dataset.label);
  }
  for (const one of document.querySelectorAll("[data-language]")) {
    one.ariaPressed = String(one.dataset.language === chosen);
  }
  for (const one of document.querySelectorAll("[data-copy]")) one.textContent = say("copy");
  for (const id of ["photo", "cutout", "mask"]) at(id).alt = say(id);
  at("access").textContent = say(isKeyless ? "keyless" : "keyed");
  at("pair").textContent = say(isKeyless ? "pairPrinted" : "pairFile");
  if (told) tell(...told);
  if (shown) describe(shown);
}

/** Say something below the box: `kind` is "", "busy" or "error". */
function tell(kind, word, values) {
  told = word ? [kind, word, values] : null;
  at("message").hidden = !word;
  at("message").className = `message ${kind}`;
  at("message").textContent = word ? say(word, values) : "";
  root.classList.toggle("is-busy", kind === "busy");
}

/** Send a photo, and show what comes back. */
async function take(files) {
  const [file] = files;
  if (!file) return;
  attempt?.abort();
  const mine = (attempt = new AbortController());
  const name = file.name || "photo";
  hideResult();
  if (!isKeyless && !(at("key").value.trim() && at("secret").value.trim())) {
    tell("error", "pairMissing");
    at(at("key").value.trim() ? "secret" : "key").focus();
    return;
  }
  tell("busy", "preparing", { name });
  let photo;
  try {
    photo = await fitted(file);
  } catch {
    if (attempt === mine) tell("error", "notAPhoto", { name });
    return;
  }
  if (attempt !== mine) return;
  tell("busy", "working", { name });
  const began = performance.now();
  const answer = await call(photo.blob, mine.signal);
  if (attempt !== mine) return;
  if (answer.error) {
    tell("error", answer.error, answer.values);
    return;
  }
  if (files.length > 1) tell("", "oneAtATime", { name });
  else if (photo.changed) tell("", "shrunk", photo);
  else tell("");
  showResult({ ...answer, photo, name, seconds: (performance.now() - began) / 1000 });
}

/** One call of the API: its pictures and figures, or {error, values}. */
async function call(blob, signal) {
  const form = new FormData();
  if (!isKeyless) {
    form.append("api_key", at("key").value.trim());
    form.append("api_secret", at("secret").value.trim());
  }
  form.append("return_grayscale", "1");
  form.append("image_file", blob, "photo");
  let response, text;
  try {
    const headers = { "hbseg-page": "1" };
    const how = { method: "POST", body: form, headers, signal, credentials: "omit", cache: "no-store" };
    response = await fetch(root.dataset.path, how);
    text = await response.text();
  } catch {
    return { error: "unreachable" };
  }
  return understood(response, text);
}

/** What an answer says. */
function understood(response, text) {
  let fields = {};
  try {
    fields = JSON.parse(text);
  } catch {
    fields = { error_message: text }; // 413 is plain text
  }
  if (response.ok && fields.result && fields.body_image) {
    const figure = (name) => response.headers.get(`hbseg-${name}`);
    return {
      mask: picture(fields.result),
      cutout: picture(fields.body_image),
      coverage: Number(figure("coverage")),
      doubt: Number(figure("doubt")),
      code: figure("code"),
    };
  }
  const [code, parameter = ""] = String(fields.error_message ?? "").split(/:\s*/, 2);
  if (Object.hasOwn(WORDS.en.errors, code)) {
    return { error: code, values: { parameter, min: root.dataset.minSide, max: root.dataset.maxSide } };
  }
  return { error: "unexpected", values: { status: response.status } };
}

/** The PNG in a text of base64. */
function picture(base64) {
  return new Blob([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], { type: "image/png" });
}

function hideResult() {
  at("result").hidden = true;
  root.classList.remove("has-result");
  for (const link of links) URL.revokeObjectURL(link);
  links = [];
  shown = null;
}

function showResult(result) {
  shown = result;
  const link = (blob) => links[links.push(URL.createObjectURL(blob)) - 1];
  at("photo").src = link(result.photo.blob);
  at("cutout").src = at("save-cutout").href = link(result.cutout);
  at("mask").src = at("save-mask").href = link(result.mask);
  const stem = result.name.replace(/\.[^.]*$/, "") || "photo";
  at("save-cutout").download = `${stem}-cutout.png`;
  at("save-mask").download = `${stem}-mask.png`;
  root.style.setProperty("--shape", `${result.photo.width} / ${result.photo.height}`);
  describe(result);
  root.classList.add("has-result");
  at("result").hidden = false;
}

/** What is said about a result, in the page's language. */
function describe({ photo, coverage, doubt, code, seconds }) {
  const kind = code ? "nobody" : doubt > Number(root.dataset.doubtful) ? "doubtful" : "sure";
  at("badge").className = `badge ${kind}`;
  at("badge").textContent = say(kind);
  at("verdict").textContent = say(`${kind}More`);
  const facts = [
    ["coverage", `${(coverage * 100).toFixed(1)} %`],
    ["doubt", doubt.toFixed(3)],
    ["size", say("sizeIs", photo)],
    ["time", say("seconds", { seconds: seconds.toFixed(2) })],
  ];
  if (code) facts.push(["code", code]);
  at("facts").replaceChildren(...facts.map(([name, value]) => fact(say(name), value)));
}

function fact(name, value) {
  const pair = document.createElement("div");
  for (const [tag, text] of [["dt", name], ["dd", value]]) {
    pair.appendChild(document.createElement(tag)).textContent = text;
  }
  return pair;
}

/** Copy what an element says; where the browser forbids it, select it. */
async function copy(button) {
  const source = at(button.dataset.copy);
  let word = "copied";
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    word = "selected";
  }
  button.textContent = say(word);
  setTimeout(() => (button.textContent = say("copy")), 1500);
}

function toggleTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
}

/** The light beside the link to /healthz. */
async function look() {
  try {
    const state = await (await fetch("/healthz", { cache: "no-store" })).json();
    at("light").className = `light ${state.status}`;
    at("health").title = state.reason ?? state.status;
  } catch {
    at("light").className = "light down";
  }
}

function listen() {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      speak(button.dataset.language);
      remember("language", language);
    });
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button));
  }
  at("theme").addEventListener("click", toggleTheme);
  at("file").addEventListener("change", () => {
    const files = [...at("file").files];
    at("file").value = ""; // the same photo may be chosen again
    take(files);
  });
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Anywhere on the page: a photo dropped beside the box must not replace the page.
  for (const kind of ["dragenter", "dragover"]) {
    addEventListener(kind, (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      at("drop").classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) at("drop").classList.remove("over");
  });
  addEventListener("drop", (event) => {
    at("drop").classList.remove("over");
    if (!isFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
}

root.dataset.theme = remembered("theme") ?? "";
// Behind a proxy the server does not know its own address, but the browser does.
for (const one of document.querySelectorAll(".origin")) one.textContent = location.origin;
at("endpoint").textContent = location.origin + root.dataset.path;
at("keys").hidden = isKeyless;
speak(preferredLanguage());
listen();
look();
