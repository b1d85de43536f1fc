"use strict";
// The data of the page, and names: as text that is safe to show, as links, as bytes.

const data = JSON.parse(document.getElementById("data").textContent);
const photos = data.photos;
const column = Object.fromEntries(data.columns.map((name, index) => [name, index]));
const byId = (id) => document.getElementById(id);

function value(index, name) {
  return photos[index][column[name]];
}

function groupOf(index) {
  return data.groups[value(index, "group")];
}

// An element with properties, classes and children; never parsed from text.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, content] of Object.entries(properties)) {
    if (name in made) made[name] = content;
    else made.setAttribute(name, content);
  }
  made.append(...children);
  return made;
}

// Control characters, direction marks and bytes that are not text, written out as escapes.
function visible(text) {
  return text.replace(/[\p{C}\p{Z}]/gu, (char) => {
    const code = char.codePointAt(0);
    if (char === " ") return char;
    if (code >= 0xdc80 && code <= 0xdcff) return "\\x" + (code - 0xdc00).toString(16);
    if (char === "\n") return "\\n";
    if (char === "\t") return "\\t";
    return code < 0x100
      ? "\\x" + code.toString(16).padStart(2, "0")
      : "\\u" + code.toString(16).padStart(4, "0");
  });
}

function folderOf(index) {
  return visible(data.folders[value(index, "folder")][1]);
}

function nameOf(index) {
  return visible(value(index, "name")) || "(no name)";
}

// What the command line takes for this photo; empty if it came through stdin.
function sourceOf(index) {
  const folder = data.folders[value(index, "folder")][0];
  if (!folder) return "";
  return (folder === "/" ? "" : folder) + "/" + value(index, "name");
}

// A path as part of an address. Bytes that are not text are surrogates in it.
function encoded(path) {
  return Array.from(path, (char) => {
    const code = char.codePointAt(0);
    if (char === "/") return char;
    if (code >= 0xdc80 && code <= 0xdcff) return "%" + (code - 0xdc00).toString(16).toUpperCase();
    return code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(char);
  }).join("");
}

// The address of a photo's file; null where it is no file or no plain web address.
function photoLink(index) {
  const source = sourceOf(index);
  if (source.startsWith("/")) return "file://" + encoded(source);
  return /^https?:\/\//i.test(source) ? source : null;
}

// The address of a photo's cutout or mask.
function resultLink(index, kind) {
  const has = value(index, kind === "cutouts" ? "has_cutout" : "has_mask");
  if (!has) return null;
  return encoded(data.results) + "/" + kind + "/" + encoded(value(index, "result"));
}

const KINDS = ["photo", "cutout", "mask"]; // from left to right in a strip of thumbnails

function hasThumbnail(index, kind) {
  return Boolean(value(index, "panes") & (1 << KINDS.indexOf(kind)));
}

// The address of a photo's strip of thumbnails; null where none of its pictures can be shown.
function stripLink(index) {
  const [name, panes] = [value(index, "strip"), value(index, "panes")];
  return panes ? encoded(data.thumbnails) + "/" + name[0] + "/" + name + "-" + panes + ".webp" : null;
}

// The bytes of a name as they are on the disk.
function bytesOf(text) {
  const bytes = [];
  const encoder = new TextEncoder();
  for (const char of text) {
    const code = char.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else bytes.push(...encoder.encode(char));
  }
  return bytes;
}

// Settings outlive the page where the browser allows it.
function remember(name, content) {
  try {
    localStorage.setItem("hbseg " + name, JSON.stringify(content));
  } catch {
    // not kept: the page works without
  }
}

function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem("hbseg " + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

let hiding = 0;

function tell(text) {
  const message = byId("message");
  message.textContent = text;
  message.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (message.hidden = true), 9000);
}

function counted(number, noun) {
  return number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");
}

function percent(fraction) {
  const hundred = fraction * 100;
  if (hundred > 0 && hundred < 1) return "less than 1 %";
  return Math.round(hundred) + " %";
}

function duration(seconds) {
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 59.5) return seconds.toFixed(seconds < 9.95 ? 1 : 0) + " s";
  const minutes = Math.floor(Math.round(seconds) / 60);
  const rest = Math.round(seconds) % 60;
  if (minutes < 60) return minutes + " min " + String(rest).padStart(2, "0") + " s";
  return Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
}
