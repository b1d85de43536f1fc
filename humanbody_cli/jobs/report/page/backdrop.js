// What is behind the cutouts: a checkerboard, a colour, or a picture of the user's own.

const LONGEST_BACKDROP = 1280; // pixels: it is drawn behind many cutouts at once

function showBackdrop(choice) {
  const root = document.documentElement;
  root.classList.toggle("on-checks", choice === "checks");
  if (choice === "checks") root.style.removeProperty("--backdrop");
  else root.style.setProperty("--backdrop", choice);
  for (const swatch of document.querySelectorAll("[data-backdrop]")) {
    swatch.ariaPressed = String(swatch.dataset.backdrop === choice);
  }
}

function chooseBackdrop(choice) {
  showBackdrop(choice);
  remember("backdrop", choice);
}

function nextBackdrop() {
  const all = [...document.querySelectorAll("[data-backdrop]")];
  const at = all.findIndex((swatch) => swatch.ariaPressed === "true");
  chooseBackdrop(all[(at + 1) % all.length].dataset.backdrop);
}

async function choosePicture(file) {
  try {
    const whole = await createImageBitmap(file);
    const scale = Math.min(1, LONGEST_BACKDROP / Math.max(whole.width, whole.height));
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(whole.width * scale)),
      height: Math.max(1, Math.round(whole.height * scale)),
    });
    canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    const small = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    showBackdrop(`url("${URL.createObjectURL(small)}") center / cover`);
  } catch {
    tell("This browser cannot read that picture; choose a JPEG or PNG.");
  }
}

function startBackdrop() {
  for (const swatch of document.querySelectorAll("[data-backdrop]")) {
    swatch.addEventListener("click", () => chooseBackdrop(swatch.dataset.backdrop));
  }
  byId("colour").addEventListener("input", (event) => chooseBackdrop(event.target.value));
  byId("picture").addEventListener("change", (event) => {
    if (event.target.files.length) choosePicture(event.target.files[0]);
  });
  const kept = remembered("backdrop", "checks");
  showBackdrop(/^#[0-9a-f]{6}$/.test(kept) ? kept : "checks");
}
