// The runs: their figures, a table, and calls, refusals and latency over time as SVG.

const ENDINGS = {
  finished: "finished",
  killed: "killed",
  interrupted: "interrupted",
  "call-limit": "call limit reached",
  "time-limit": "time limit reached",
  account: "key or balance refused",
  output: "output could not be written",
  stdout: "stdout was closed",
  journal: "journal damaged",
  usage: "wrong option or input",
  stopped: "stopped",
  bug: "a bug",
};

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, content] of Object.entries(attributes)) made.setAttribute(name, content);
  made.append(...children);
  return made;
}

function when(seconds) {
  const options = { dateStyle: "medium", timeStyle: "short" };
  return new Date(seconds * 1000).toLocaleString(undefined, options);
}

// [seconds, figure] between neighbouring samples; a figure may be null.
function series(samples, figure) {
  const points = [];
  for (let at = 1; at < samples.length; at++) {
    const [before, after] = [samples[at - 1], samples[at]];
    if (after[0] > before[0]) points.push([after[0], figure(before, after)]);
  }
  return points;
}

// The columns of a sample: seconds, done, left out, calls, refused, answered, summed latency.
const CHARTS = [
  ["Calls per second", "calls", (a, b) => (b[3] - a[3]) / (b[0] - a[0]), (v) => v.toFixed(v < 10 ? 1 : 0)],
  ["Refused per second", "refused", (a, b) => (b[4] - a[4]) / (b[0] - a[0]), (v) => v.toFixed(v < 10 ? 1 : 0)],
  ["Photos per second", "photos", (a, b) => (b[1] - a[1]) / (b[0] - a[0]), (v) => v.toFixed(v < 10 ? 1 : 0)],
  ["Mean latency", "latency", (a, b) => (b[5] > a[5] ? (b[6] - a[6]) / (b[5] - a[5]) : null), duration],
];

const [CHART_WIDTH, CHART_HEIGHT, CHART_TOP] = [600, 90, 6];

function chart([title, name, figure, text], samples) {
  const points = series(samples, figure);
  const known = points.filter((point) => point[1] !== null);
  if (!known.length) return null;
  const most = Math.max(...known.map((point) => point[1]));
  const end = points[points.length - 1][0];
  const x = (seconds) => (seconds / end) * CHART_WIDTH;
  const y = (amount) => CHART_HEIGHT - (most ? (amount / most) * (CHART_HEIGHT - CHART_TOP) : 0);
  let path = "";
  let isDrawn = false;
  for (const [seconds, amount] of points) {
    if (amount !== null) path += (isDrawn ? "L" : "M") + x(seconds).toFixed(1) + " " + y(amount).toFixed(1);
    isDrawn = amount !== null;
  }
  if (known.length === 1) path = `M0 ${y(known[0][1])}L${CHART_WIDTH} ${y(known[0][1])}`;
  const label = `${title}: at most ${text(most)}, over ${duration(end)}`;
  const drawn = svg(
    "svg",
    { viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT + 1}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { x1: 0, x2: CHART_WIDTH, y1: CHART_HEIGHT, y2: CHART_HEIGHT, class: "axis" }),
    svg("line", { x1: 0, x2: CHART_WIDTH, y1: CHART_TOP, y2: CHART_TOP, class: "axis faint" }),
    svg("path", { d: path, class: "curve" }),
  );
  const read = element("span", { className: "read" }, "max " + text(most));
  drawn.addEventListener("pointermove", (event) => {
    const box = drawn.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * end;
    const near = known.reduce((one, other) => (Math.abs(other[0] - at) < Math.abs(one[0] - at) ? other : one));
    read.textContent = text(near[1]) + " at " + duration(near[0]);
  });
  drawn.addEventListener("pointerleave", () => (read.textContent = "max " + text(most)));
  return element(
    "figure",
    { className: "chart " + name },
    element("figcaption", {}, element("span", {}, title), read),
    drawn,
    element("div", { className: "ends" }, element("span", {}, "0 s"), element("span", {}, duration(end))),
  );
}

function showRun(at) {
  const run = data.runs[at];
  const shown = CHARTS.filter(([, name]) => run.calls || (name !== "calls" && name !== "refused"));
  const charts = shown.map((one) => chart(one, run.samples)).filter(Boolean);
  byId("plots").replaceChildren(...charts);
}

function seconds(run) {
  return run.ended === null ? null : Math.max(0, run.ended - run.started);
}

function ending(run) {
  if (run.ended === null) return "running, or killed";
  const reason = run.reason ? (ENDINGS[run.reason] ?? visible(run.reason)) : "";
  const code = run.exit_code === null ? "" : "exit " + run.exit_code;
  return [reason, code].filter(Boolean).join(", ") || "killed";
}

function runsTable() {
  const names = ["started", "took", "engine", "done", "rejected", "failed", "calls", "refused", "ended"];
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
  const rows = data.runs.map((run) => {
    const took = seconds(run);
    const texts = [
      when(run.started),
      took === null ? "" : duration(took),
      visible(String(run.engine ?? "none needed").split(";")[0]),
      ...[run.done, run.rejected, run.failed, run.calls, run.refused].map((n) => (n ?? "").toLocaleString("en")),
      ending(run),
    ];
    return element("tr", {}, ...texts.map((text) => element("td", {}, text)));
  });
  byId("runs").replaceChildren(
    element("thead", {}, head),
    element("tbody", {}, ...rows.reverse()),
  );
}

// Name and figure of the whole folder, as the page lists them.
function totals() {
  const last = data.runs[data.runs.length - 1];
  const rows = [["calls in all", data.calls.toLocaleString("en")]];
  if (data.spent !== null) rows.push(["spent", visible(data.spent)]);
  rows.push(["runs", String(data.runs.length)]);
  if (last) rows.push(["last run", when(last.started)]);
  const worked = [...data.runs].reverse().find((run) => run.done && seconds(run));
  if (worked) rows.push(["pace of the last run", (worked.done / seconds(worked)).toFixed(1) + " photos/s"]);
  return rows;
}

function startNumbers() {
  for (const [name, text] of totals()) {
    byId("figures").append(element("div", {}, element("dt", {}, name), element("dd", {}, text)));
  }
  byId("numbers").hidden = !data.runs.length;
  runsTable();
  const plotted = data.runs.map((run, at) => at).filter((at) => data.runs[at].samples.length > 1);
  for (const at of plotted.reverse()) {
    byId("run").append(element("option", { value: at }, when(data.runs[at].started)));
  }
  byId("run-choice").hidden = plotted.length < 2;
  byId("run").addEventListener("change", (event) => showRun(Number(event.target.value)));
  if (plotted.length) showRun(plotted[0]);
}
