// Photos beyond the API's limits are shrunk, and other formats converted, before they are sent.

const LIMITS = {
  bytes: Number(document.documentElement.dataset.maxBytes) - 4096, // the form around the photo
  side: Number(document.documentElement.dataset.maxSide),
};
const QUALITIES = [0.92, 0.85, 0.75];

/** What to send of a file: {blob, bitmap, width, height, changed}. Throws if it is not a picture. */
async function fitted(file) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const fits = file.size <= LIMITS.bytes && Math.max(width, height) <= LIMITS.side;
  if (fits && (await isTaken(file))) return { blob: file, width, height, changed: false };
  let scale = Math.min(1, LIMITS.side / Math.max(width, height));
  for (;;) {
    const canvas = drawn(bitmap, scale);
    for (const quality of QUALITIES) {
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
      if (blob && blob.size <= LIMITS.bytes) {
        return { blob, width: canvas.width, height: canvas.height, changed: true };
      }
    }
    scale *= 0.8;
  }
}

/** Whether the server takes a file's format. Its name may lie. */
async function isTaken(file) {
  const head = [...new Uint8Array(await file.slice(0, 4).arrayBuffer())];
  const starts = (...bytes) => bytes.every((byte, at) => head[at] === byte);
  return starts(0xff, 0xd8, 0xff) || starts(0x89, 0x50, 0x4e, 0x47);
}

function drawn(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff"; // a JPG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
