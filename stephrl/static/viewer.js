// Draws what stephrl.view_model worked out. One ES module: no build step, no dependency.
// The same file runs as an anywidget in JupyterLab and inside the standalone page that `to_html` writes.
//
// Rule of the house: everything shown is untrusted text. It enters the page as text nodes only; no string ever becomes HTML.
//
// Reading order: small helpers · data (Store) · charts · List · Pane (one episode) · App (keys, playing, comparing) · render.

// ---------------------------------------------------------------- helpers

// JupyterLab's own keys (d d deletes a cell!) match the focused element itself before they look at its ancestors, so this attribute
// has to be on everything that can have the focus (in Chromium, any area that scrolls); on the root alone it does not help.
const QUIET = "data-lm-suppress-shortcuts";

/** An element: el("p", {class: "x", onclick: f}, "text", child, ...). Strings become text nodes; null children are left out. */
function el(tag, attrs = {}, ...kids) {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith("on")) node.addEventListener(k.slice(2), v);
    else node.setAttribute(k, v === true ? "" : v);
  }
  node.setAttribute(QUIET, "true");
  node.append(...kids.flat().filter((k) => k !== null && k !== undefined));
  return node;
}

function svg(tag, attrs = {}, ...kids) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs)) if (v !== null && v !== undefined) node.setAttribute(k, v);
  node.append(...kids);
  return node;
}

/** A name in somebody else's words: its reading direction does not touch what stands beside it. */
const bdi = (text) => el("bdi", {}, String(text));

const clamp = (x, lo, hi) => Math.max(lo, Math.min(hi, x));
const count = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ","); // toLocaleString was the dearest call of a step
const short = (n) => (n >= 1e6 ? (n / 1e6).toFixed(1) + "M" : n >= 1e4 ? (n / 1e3).toFixed(0) + "k" : count(n));
const tidy = (x) => (Number.isFinite(x) ? String(Number(x.toFixed(1))) : "–"); // a number that is none was sent as null
const signed = (x) => (x > 0 ? "+" : "") + tidy(x);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const escapeRegExp = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const joined = (marks) => marks.filter((m) => m[0] !== "-").map((m) => m[1]).join("");

/** Small pictures for buttons: fonts do not have them everywhere. */
const SYMBOLS = {
  first: "M2 2h2v10H2zM12 2v10L5 7z", back: "M11 2v10L4 7z", forward: "M3 2v10l7-5z", last: "M10 2h2v10h-2zM2 2v10l7-5z", play: "M3 1v12l9-6z", pause: "M3 2h3v10H3zM8 2h3v10H8z",
  list: "M1 2h12v2H1zM1 6h12v2H1zM1 10h12v2H1z", left: "M9 2l2 1.5L6.500 7l4.500 3.500L9 12L3 7z", right: "M5 2L3 3.500L7.500 7L3 10.500L5 12L11 7z", theme: "M7 1a6 6 0 1 0 0 12zM7 1a6 6 0 0 1 0 12v-1.200a4.800 4.800 0 0 0 0-9.600z",
};
const symbol = (name) => svg("svg", { class: "sv-symbol", width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("path", { d: SYMBOLS[name] }));

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

const OUTCOMES = {
  success: ["✔", "solved"],
  partial: ["◐", "partly"],
  failure: ["✘", "failed"],
  crash: ["⚡", "crashed"],
};
const ROLE_WORK = { high: "names the subtask", low: "acts", progress: "keeps the note", flat: "reads the history" };
const KNOWN_ROLES = ["high", "low", "progress", "flat"];
const ROLE_DASHES = { high: "1 4", progress: "7 3 1 3" }; // colour is not the only difference
const roleClass = (r) => "role-" + (KNOWN_ROLES.includes(r) ? r : "other");
const swatch = (r) => el("span", { class: `sv-swatch ${roleClass(r)}`, "aria-hidden": "true" });

// ---------------------------------------------------------------- data

/** Episodes by number. A packed episode is inflated when it is first looked at; a line of text is stored once (see `pack`). */
class Store {
  constructor(model, rows) {
    Object.assign(this, { model, rows, cache: new Map(), waiting: new Map() });
    model.on("msg:custom", (msg, buffers) => {
      const wait = this.waiting.get(msg?.episode);
      if (!wait) return;
      this.waiting.delete(msg.episode);
      if (msg.error) wait.reject(new Error(msg.error));
      else wait.resolve(buffers[0]);
    });
  }

  get(i) {
    if (!this.cache.has(i)) {
      if (this.cache.size > 12) this.cache.delete(this.cache.keys().next().value);
      const made = this.bytes(i).then(inflate).then((d) => this.decode(d));
      made.catch(() => this.cache.delete(i)); // a kernel that was restarted may answer next time
      this.cache.set(i, made);
    }
    return this.cache.get(i);
  }

  bytes(i) {
    const packed = this.model.get("packs")?.[i];
    if (packed) return Promise.resolve(packed);
    const known = this.waiting.get(i);
    if (known) return known.promise;
    const wait = {};
    wait.promise = new Promise((resolve, reject) => Object.assign(wait, { resolve, reject }));
    this.waiting.set(i, wait);
    this.model.send({ ask: "episode", episode: i });
    return wait.promise;
  }

  /** The view of one episode. Texts stay lists of line numbers until a step is shown: 5,000 steps open as fast as 50. */
  decode({ lines, view }) {
    const text = (ids) => (ids ?? []).map((n) => lines[n]).join("\n");
    const marks = (list) => (list ?? []).map(([kind, ids]) => [kind, text(ids)]);
    const seen = new Map();
    const step = (t) => {
      if (seen.has(t)) return seen.get(t);
      const s = view.steps[t];
      const full = {
        ...s,
        ...Object.fromEntries(["action", "text", "answer", "note", "info"].map((k) => [k, text(s[k])])),
        ...Object.fromEntries(["look", "inventory", "note_after"].map((k) => [k, marks(s[k])])),
        issues: s.issues.map((i) => ({ ...i, text: text(i.text) })),
        toldRoom: s.text === null, answeredRoom: s.answer === null, // the text is the room that is shown anyway
        calls: s.calls.map((c) => ({ ...c, prompt: text(c.prompt), completion: text(c.completion) })),
      };
      if (seen.size > 200) seen.clear();
      seen.set(t, full);
      return full;
    };
    const ep = { ...view, n: view.steps.length, raw: view.steps, step, text, description: text(view.description) };
    ep.final = Object.fromEntries(Object.entries(view.final).map(([k, v]) => [k, text(v)]));
    ep.subtasks = view.subtasks.map((g) => ({ ...g, final_note: text(g.final_note) }));
    ep.actions = view.steps.map((s) => text(s.action));
    ep.roles = roleTotals(ep);
    ep.rewards = indices(view.steps, (s) => s.reward !== 0);
    ep.troubles = indices(view.steps, (s) => s.issues.length > 0);
    return ep;
  }
}

const indices = (list, test) => list.flatMap((x, i) => (test(x) ? [i] : []));

/** role -> {read: [per step], wrote: [per step]}, in the order of the loop */
function roleTotals(ep) {
  const found = {};
  ep.raw.forEach((s, t) => {
    for (const c of s.calls) {
      const r = (found[c.role] ??= { read: new Array(ep.n).fill(0), wrote: new Array(ep.n).fill(0) });
      r.read[t] += c.read;
      r.wrote[t] += c.wrote;
    }
  });
  const order = (r) => (KNOWN_ROLES.indexOf(r) + 9) % 9;
  return Object.fromEntries(Object.entries(found).sort((a, b) => order(a[0]) - order(b[0])));
}

/** Everything that a search looks through at one step. */
function searchable(ep, t, prompts) {
  const s = ep.step(t);
  const parts = [s.action, s.answer, s.text, s.note, joined(s.note_after), joined(s.look), joined(s.inventory), ep.subtasks[s.subtask]?.name ?? ""];
  if (t === ep.n - 1) parts.push(ep.final.look, ep.final.inventory);
  if (prompts) parts.push(...s.calls.flatMap((c) => [c.prompt, c.completion]));
  return parts.join("\n");
}

// ---------------------------------------------------------------- text on the page

const LONG = 3000; // characters shown before the reader is asked

/** Fill `node` with marked text: [[kind, text], ...], search hits in <mark>, the rest after a button when it is very long. */
function putMarked(node, marks, find, limit = LONG) {
  node.replaceChildren();
  const total = marks.reduce((n, m) => n + m[1].length, 0);
  if (find && total > limit && marks.map((m) => m[1]).join("").search(find) >= limit) limit = Infinity; // what was searched for is shown
  let room = total > limit * 1.2 ? limit : Infinity;
  for (const [kind, text] of marks) {
    if (room <= 0) break;
    const part = text.slice(0, room);
    room -= part.length;
    const holder = kind === "=" ? node : el(kind === "+" ? "ins" : "del", { class: "sv-" + (kind === "+" ? "new" : "gone") });
    putFound(holder, part, find);
    if (holder !== node) node.append(holder);
  }
  if (total > limit * 1.2 && limit !== Infinity) {
    const more = el("button", { class: "sv-more", type: "button" }, `… show all ${count(total)} characters`);
    more.addEventListener("click", () => keepFocus(node.closest(".stephrl-viewer"), () => putMarked(node, marks, find, Infinity)));
    node.append(more);
  }
  return node;
}

function putFound(node, text, find) {
  if (!find) return node.append(text);
  let at = 0;
  for (const m of text.matchAll(find)) {
    if (m[0] === "") break;
    node.append(text.slice(at, m.index), el("mark", { class: "sv-hit" }, m[0]));
    at = m.index + m[0].length;
  }
  node.append(text.slice(at));
}

/** Redraw inside `root`; when the focused element was replaced, the focus stays in the viewer: the notebook's own keys must not fire. */
function keepFocus(root, draw) {
  const inside = root.contains(document.activeElement) ? document.activeElement : null;
  draw();
  if (!inside || (root.contains(document.activeElement) && !document.activeElement.closest("[hidden]"))) return;
  const twin = inside.classList.contains("sv-leaf") ? root.querySelector(".sv-leaf[aria-current]") : inside.closest?.(".sv-call") && root.querySelector(".sv-call summary");
  (twin || root).focus({ preventScroll: true });
}

const putText = (node, text, find) => putMarked(node, text ? [["=", text]] : [], find);

// ---------------------------------------------------------------- charts

/** One small chart. lines: [{name, values, cls, dash, area, stairs}]; x is the step. Returns {node, at(step), draw()}. */
function chart({ title, lines, onpick, xs = null, height = 92, top = null, format = short, marks = [], zero = true, hover = false }) {
  const n = Math.max(...lines.map((l) => l.values.length), 1);
  const finite = lines.flatMap((l) => extent(l.values));
  let [lo, hi] = finite.length ? [Math.min(...finite, ...(zero ? [0] : [])), Math.max(top ?? -Infinity, ...finite)] : [0, top ?? 1];
  if (hi - lo < 1e-12) [lo, hi] = [lo - 0.5, hi + 0.5];
  const picture = svg("svg", { class: "sv-chart", role: "img", height, "aria-label": chartWords(title, lines) });
  const values = lines.map(() => el("span", { class: "sv-key-value" }));
  const keys = lines.map((l, i) => el("li", {}, keyLine(l), bdi(l.name), " ", values[i]));
  const node = el("figure", { class: "sv-figure" }, el("figcaption", {}, title), el("ul", { class: "sv-keys" }, keys), picture);
  const cursor = svg("line", { class: "sv-cursor", y1: 4, y2: height - 14 });
  let width = 0;
  let step = 0;
  const left = 38, right = 6;
  const firstX = xs ? xs[0] : 0, lastX = xs ? xs[xs.length - 1] : Math.max(n - 1, 1);
  const px = (x) => left + ((x - firstX) / (lastX - firstX || 1)) * (width - left - right);
  const x = (i) => px(xs ? xs[i] ?? firstX : i);
  const y = (v) => 6 + ((hi - v) / (hi - lo)) * (height - 22);

  const place = () => {
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
  };
  const draw = () => {
    const now = Math.round(picture.getBoundingClientRect().width);
    if (now < 60 || now === width) return;
    width = now;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.replaceChildren(...grid(), ...marks.map(markAt), ...lines.flatMap(drawLine), cursor);
    place();
  };
  const grid = () => [lo, (lo + hi) / 2, hi].flatMap((v) => [
    svg("line", { class: "sv-grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }),
    svg("text", { class: "sv-tick", x: left - 4, y: y(v) + 3.5, "text-anchor": "end" }, format(v)),
  ]).concat([
    svg("text", { class: "sv-tick", x: left, y: height - 2 }, xs ? short(firstX) : "1"),
    svg("text", { class: "sv-tick", x: width - right, y: height - 2, "text-anchor": "end" }, xs ? short(lastX) : count(n)),
  ]);
  const markAt = (i) => svg("path", { class: "sv-reward-mark", d: `M${x(i) - 4} ${height - 14}l4 -7l4 7z` });
  const drawLine = (l) => {
    const d = path(l.values, x, y, width - left - right, l.stairs);
    const line = svg("path", { class: `sv-line ${l.cls}`, d, "stroke-dasharray": l.dash });
    if (!l.area || !d) return [line];
    return [svg("path", { class: `sv-area ${l.cls}`, d: `${d}L${x(l.values.length - 1)} ${y(Math.max(0, lo))}L${x(0)} ${y(Math.max(0, lo))}Z` }), line];
  };
  const under = (e) => { // the index of the value under the pointer
    const box = picture.getBoundingClientRect();
    const share = clamp((e.clientX - box.left - left) / (box.width - left - right), 0, 1);
    if (!xs) return Math.round(share * (n - 1));
    const wanted = firstX + share * (lastX - firstX);
    return xs.reduce((best, v, i) => (Math.abs(v - wanted) < Math.abs(xs[best] - wanted) ? i : best), 0);
  };
  if (onpick) picture.addEventListener("pointerdown", (e) => onpick(under(e)));
  if (hover) {
    cursor.style.display = "none";
    picture.addEventListener("pointermove", (e) => { cursor.style.display = ""; at(under(e)); });
    picture.addEventListener("pointerleave", () => { cursor.style.display = "none"; at(n - 1); });
  }
  const at = (i) => {
    step = i;
    if (width) place();
    lines.forEach((l, k) => { values[k].textContent = Number.isFinite(l.values[i]) ? format(l.values[i]) : "–"; });
  };
  return { node, at, draw };
}

function extent(values) {
  let lo = Infinity, hi = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { if (v < lo) lo = v; if (v > hi) hi = v; }
  return lo <= hi ? [lo, hi] : [];
}

function keyLine(l) {
  return svg("svg", { class: "sv-keyline", width: 18, height: 8, "aria-hidden": "true" }, svg("path", { class: `sv-line ${l.cls}`, d: "M0 4H18", "stroke-dasharray": l.dash }));
}

function chartWords(title, lines) {
  const words = lines.map((l) => {
    const [lo, hi] = extent(l.values);
    return lo === undefined ? `${l.name}: no values` : `${l.name} from ${short(lo)} to ${short(hi)}`;
  });
  return `${title}: ${words.join("; ")}`;
}

/** An SVG path. With more points than pixels, each pixel keeps its lowest and highest value. Gaps stay gaps; a lone value is a ring. */
function path(values, x, y, pixels, stairs) {
  const every = Math.max(1, Math.ceil(values.length / Math.max(1, pixels)));
  let d = "", run = 0, last = 0;
  const to = (i, v) => {
    const there = Number.isFinite(v);
    if (!there && run === 1) d += "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0";
    if (there) {
      const [a, b] = [x(i).toFixed(1), y(v).toFixed(1)];
      d += run ? (stairs ? `H${a}V${b}` : `L${a} ${b}`) : `M${a} ${b}`;
      last = v;
    }
    run = there ? run + 1 : 0;
  };
  for (let i = 0; i < values.length; i += every) {
    if (every === 1) { to(i, values[i]); continue; }
    const ends = extent(values.slice(i, i + every));
    if (ends.length === 0) to(i, NaN);
    else if (Math.abs(last - ends[0]) < Math.abs(last - ends[1])) ends.forEach((v) => to(i, v));
    else [ends[1], ends[0]].forEach((v) => to(i, v));
  }
  to(values.length, NaN);
  return d;
}

const running = (values) => { let sum = 0; return values.map((v) => (sum += v)); };

// ---------------------------------------------------------------- the list of episodes

const ROW = 30; // pixels; every row has the same height, so that only the visible ones need to exist
const COLUMNS = [
  ["outcome", "End"], ["score", "Score"], ["task", "Task"], ["variation", "Variation"], ["source", "Agent"],
  ["steps", "Steps"], ["read", "Tokens read"], ["wrote", "Written"], ["blame", "First sign of trouble"],
];
const RIGHT = new Set(["score", "steps", "read", "wrote"]);

class List {
  constructor(app) {
    this.app = app;
    this.sort = { key: null, down: false };
    this.filters = {};
    this.body = el("tbody");
    this.table = el("table", { class: "sv-table" }, el("caption", { class: "sv-hidden" }, "Episodes"), el("thead", {}, this.head()), this.body);
    this.scroller = el("div", { class: "sv-scroller", onscroll: () => this.rows() }, this.table);
    this.status = el("p", { class: "sv-status", role: "status" });
    this.node = el("section", { class: "sv-list", "aria-label": "List of episodes" }, this.bar(), this.scroller);
    this.scroller.addEventListener("keydown", (e) => this.key(e));
    this.refresh();
  }

  head() {
    this.heads = COLUMNS.map(([key, name]) => {
      const button = el("button", { type: "button", class: "sv-sort", onclick: () => this.sortBy(key) }, name);
      return el("th", { scope: "col", "aria-sort": "none", class: RIGHT.has(key) ? "sv-right" : null }, button);
    });
    return el("tr", {}, this.heads);
  }

  bar() {
    const choice = (key, label, names = (v) => v) => {
      const values = [...new Set(this.app.rows.map((r) => r[key]))].filter((v) => v !== "").sort();
      if (values.length < 2 && key !== "blame") return null;
      if (values.length === 0) return null;
      const pick = el("select", { "aria-label": label, onchange: (e) => this.filter(key, e.target.value) },
        el("option", { value: "" }, label), values.map((v) => el("option", { value: v }, names(v))));
      return pick;
    };
    const text = el("input", { type: "search", placeholder: "Filter the list", "aria-label": "Filter the list", oninput: (e) => this.filter("", e.target.value) });
    return el("div", { class: "sv-bar" }, text, choice("outcome", "Any end", (v) => OUTCOMES[v][1]), choice("task", "All tasks"),
      choice("source", "All agents"), choice("blame", "Trouble in any role", (v) => `trouble: ${v}`), this.status);
  }

  filter(key, value) {
    this.filters[key] = value;
    this.refresh();
  }

  sortBy(key) {
    this.sort = { key, down: this.sort.key === key ? !this.sort.down : RIGHT.has(key) };
    this.heads.forEach((th, i) => th.setAttribute("aria-sort", COLUMNS[i][0] !== key ? "none" : this.sort.down ? "descending" : "ascending"));
    this.refresh();
  }

  refresh() {
    const words = (this.filters[""] ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const keep = (r) => Object.entries(this.filters).every(([k, v]) => !k || !v || r[k] === v) &&
      words.every((w) => `${r.task} ${r.variation} ${r.source} ${r.split} ${OUTCOMES[r.outcome][1]} ${r.id}`.toLowerCase().includes(w));
    this.shown = indices(this.app.rows, keep);
    const { key, down } = this.sort;
    if (key) {
      const value = (i) => this.app.rows[i][key];
      const order = (a, b) => (typeof value(a) === "number" ? value(a) - value(b) : String(value(a)).localeCompare(String(value(b)), "en", { numeric: true }));
      this.shown.sort((a, b) => (down ? order(b, a) : order(a, b)) || a - b);
    }
    this.status.textContent = this.words();
    this.scroller.scrollTop = 0;
    this.rows(true);
  }

  words() {
    const rows = this.shown.map((i) => this.app.rows[i]);
    if (rows.length === 0) return "No episode matches.";
    const mean = rows.reduce((s, r) => s + r.score, 0) / rows.length;
    const of = rows.length < this.app.rows.length ? ` of ${count(this.app.rows.length)}` : "";
    return `${count(rows.length)}${of} episodes · ${count(rows.filter((r) => r.outcome === "success").length)} solved · mean score ${mean.toFixed(1)}`;
  }

  /** Only the rows in sight are in the page; two empty rows hold the place of the others. */
  rows(force = false) {
    const from = clamp(Math.floor(this.scroller.scrollTop / ROW) - 4, 0, Math.max(0, this.shown.length - 1));
    const to = Math.min(this.shown.length, from + Math.ceil((this.scroller.clientHeight || 300) / ROW) + 9);
    const span = `${from}-${to}-${this.app.panes.map((p) => p.index)}`;
    if (!force && span === this.span) return;
    this.span = span;
    this.table.setAttribute("aria-rowcount", this.shown.length + 1);
    const space = (n) => (n > 0 ? [el("tr", { class: "sv-space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length, style: `height:${n * ROW}px` }))] : []);
    const had = document.activeElement?.closest?.("tr")?.dataset?.index;
    this.body.replaceChildren(...space(from), ...this.shown.slice(from, to).map((i, k) => this.row(i, from + k)), ...space(this.shown.length - to));
    if (had !== undefined) this.body.querySelector(`tr[data-index="${had}"] button`)?.focus({ preventScroll: true });
  }

  row(i, place) {
    const r = this.app.rows[i];
    const [icon, word] = OUTCOMES[r.outcome];
    const here = this.app.panes.some((p) => p.index === i);
    const open = el("button", { type: "button", class: "sv-open", "aria-label": `Open ${r.task}, variation ${r.variation}, ${r.source}, ${word}, score ${r.score}`, "aria-current": here ? "true" : null }, bdi(r.task));
    const cells = [
      el("span", { class: `sv-end end-${r.outcome}` }, el("span", { "aria-hidden": "true" }, icon), " ", word),
      el("span", {}, el("span", { class: "sv-scorebar", "aria-hidden": "true" }, el("span", { style: `width:${clamp(r.score, 0, 100)}%` })), tidy(r.score)),
      open, bdi(r.variation), bdi(r.source), count(r.steps), r.read ? count(r.read) : "–", r.wrote ? count(r.wrote) : "–",
      r.blame ? el("span", {}, swatch(r.blame), ` ${r.blame}`, el("span", { class: "sv-muted" }, ` · ${plural(r.issues, "sign")}`)) : "",
    ];
    return el("tr", { class: here ? "sv-here" : null, "data-index": i, "aria-rowindex": place + 2, onclick: () => this.app.open(i) },
      cells.map((c, k) => el("td", { class: RIGHT.has(COLUMNS[k][0]) ? "sv-right" : null }, c)));
  }

  key(e) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    const tr = e.target.closest("tr[data-index]");
    if (!move || !tr) return;
    e.preventDefault();
    e.stopPropagation();
    const place = clamp(this.shown.indexOf(Number(tr.dataset.index)) + move, 0, this.shown.length - 1);
    const y = place * ROW;
    const head = ROW;
    if (y < this.scroller.scrollTop) this.scroller.scrollTop = y;
    if (y + ROW + head > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = y + ROW + head - this.scroller.clientHeight;
    this.rows(true);
    this.body.querySelector(`tr[data-index="${this.shown[place]}"] button`)?.focus({ preventScroll: true });
  }
}

// ---------------------------------------------------------------- one episode

class Pane {
  constructor(app, place) {
    Object.assign(this, { app, place, index: -1, step: 0, ep: null, hits: [], charts: [], planKey: null });
    this.node = el("section", { class: "sv-pane", "aria-label": "Episode" });
    this.node.addEventListener("pointerdown", () => app.activate(this));
    this.node.addEventListener("focusin", () => app.activate(this));
    this.observer = new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width === this.width) return; // the height changes at nearly every step
      this.width = width;
      requestAnimationFrame(() => this.resize());
    });
    this.observer.observe(this.node);
  }

  async open(index, step = 0) {
    this.index = index;
    this.wanted = step;
    const slow = setTimeout(() => this.say("Waiting for the kernel to send this episode …"), 700);
    try {
      const ep = await this.app.store.get(index);
      if (this.index !== index) return; // another one was opened meanwhile
      this.ep = ep;
      keepFocus(this.app.root, () => this.build());
      this.show(this.wanted);
      if (this.app.pane !== this && this.app.pane.ep) this.app.moved(this.app.pane); // two panes: the buttons depend on both
    } catch (error) {
      this.say(`This episode cannot be shown: ${error.message}`);
    } finally {
      clearTimeout(slow);
    }
  }

  say(words) { this.node.replaceChildren(el("p", { class: "sv-empty", role: "status" }, words)); }

  // -- built once an episode

  build() {
    const { ep } = this;
    const s = ep.summary;
    const [icon, word] = OUTCOMES[s.outcome];
    const chips = [s.source, `${s.split} split`, s.env, ep.simplification && `simplified: ${ep.simplification}`, plural(ep.n, "step") + (ep.step_limit ? ` of ${ep.step_limit}` : ""),
      ep.terminated ? "ended by the environment" : ep.truncated ? "cut off by the step limit" : ep.error ? "crashed" : "not ended", `seed ${s.seed}`];
    const title = el("h3", { class: "sv-title" }, el("span", { class: `sv-end end-${s.outcome}` }, el("span", { "aria-hidden": "true" }, icon), ` ${word}`), " ", bdi(s.task), el("span", { class: "sv-muted" }, " · variation ", bdi(s.variation)));
    const head = el("header", { class: "sv-head" }, el("div", { class: "sv-headline" }, title, el("span", { class: "sv-bigscore" }, tidy(s.score), el("small", {}, " / 100"))),
      el("ul", { class: "sv-chips" }, chips.filter(Boolean).map((c) => el("li", {}, bdi(c)))),
      el("p", { class: "sv-task" }, el("b", {}, "Task "), putText(el("span", { dir: "auto" }), ep.description)),
      ep.error ? el("p", { class: "sv-crash", role: "note" }, el("b", {}, "Crashed: "), bdi(ep.error)) : null);
    this.parts = {};
    const side = this.app.panes.length > 1 ? ` (${this.place ? "right" : "left"})` : ""; // landmarks need names of their own
    this.node.setAttribute("aria-label", `Episode ${s.task} by ${s.source}${side}`);
    if (ep.n === 0) return this.node.replaceChildren(head, el("p", { class: "sv-empty" }, "This episode has no steps."), putText(el("pre", { class: "sv-pre" }), [ep.final.text, ep.final.look].filter(Boolean).join("\n")));
    this.buildCharts();
    this.planKey = null;
    this.plan = el("nav", { class: "sv-plan", "aria-label": `Subtasks${side}` });
    this.middle = el("div", { class: "sv-step" });
    this.meters = el("div", { class: "sv-meters" }, (this.tokens = el("div", { class: "sv-tokens" })), this.charts.map((c) => c.node));
    this.calls = el("section", { class: "sv-calls", "aria-label": `Model calls of this step${side}` });
    this.buildStep();
    this.node.replaceChildren(head, this.scrubber(), el("div", { class: "sv-body" }, this.plan, this.middle, this.meters));
    this.search();
    this.resize();
  }

  scrubber() {
    this.track = svg("svg", { class: "sv-track", "aria-hidden": "true", height: 30 });
    this.range = el("input", { type: "range", class: "sv-range", min: 0, max: this.ep.n - 1, step: 1, value: 0, "aria-label": "Step",
      oninput: (e) => this.app.go(Number(e.target.value), this) });
    return el("div", { class: "sv-scrub" }, this.track, this.range);
  }

  drawTrack() {
    const { ep, track } = this;
    const w = Math.round(track.getBoundingClientRect().width);
    if (w < 60) return;
    const thumb = 14;
    const x = (i) => thumb / 2 + (i / Math.max(1, ep.n - 1)) * (w - thumb);
    const nodes = [];
    ep.subtasks.forEach((g, k) => {
      const a = Math.max(0, x(g.start - 0.5)), b = Math.min(w, x(g.end - 0.5));
      nodes.push(svg("rect", { class: `sv-band band-${k % 2} state-${g.state.replace(" ", "-")}`, x: a, y: 9, width: Math.max(1, b - a), height: 12 }, svg("title", {}, g.name)));
    });
    if (!ep.subtasks.length) nodes.push(svg("rect", { class: "sv-band band-0", x: 0, y: 9, width: w, height: 12 }));
    const sparse = (list) => { let last = -9; return list.filter((i) => x(i) - last >= 1.5 && ((last = x(i)), true)); };
    sparse(ep.rewards).forEach((i) => nodes.push(svg("path", { class: ep.raw[i].reward > 0 ? "sv-reward-mark" : "sv-loss-mark", d: `M${x(i) - 4} 1h8l-4 7z` })));
    sparse(ep.troubles).forEach((i) => nodes.push(svg("path", { class: "sv-issue-mark", d: `M${x(i) - 3} 23l6 6m0 -6l-6 6` })));
    sparse(this.hits).forEach((i) => nodes.push(svg("rect", { class: "sv-hit-mark", x: x(i) - 1.5, y: 9, width: 3, height: 12 })));
    track.setAttribute("viewBox", `0 0 ${w} 30`);
    track.replaceChildren(...nodes);
  }

  buildCharts() {
    const { ep, app } = this;
    const pick = (i) => app.go(i, this);
    const sum = app.cumulative ? running : (v) => v;
    const total = ep.raw.map((_, t) => Object.values(ep.roles).reduce((n, r) => n + r.read[t], 0));
    const token = Object.entries(ep.roles).map(([role, r]) => ({ name: role, values: sum(r.read), cls: roleClass(role), dash: ROLE_DASHES[role] }));
    if (token.length > 1) token.push({ name: "together", values: sum(total), cls: "role-sum" });
    const title = (app.cumulative ? "Tokens read so far" : "Tokens read at each step") + (ep.expected ? " (by a step-level agent)" : "");
    this.charts = [chart({ title, lines: [...token, { name: "full history", values: sum(ep.full_history), cls: "role-history", dash: "5 3" }], onpick: pick, height: 116 })];
    this.charts[0].node.append(el("label", { class: "sv-check" }, el("input", { type: "checkbox", ...(app.cumulative ? { checked: true } : {}), onchange: (e) => app.setCumulative(e.target.checked) }), " add up over the episode"));
    this.charts.push(chart({ title: "Score after each step", top: 100, marks: ep.rewards.filter((t) => ep.raw[t].reward > 0), lines: [{ name: "score", values: ep.raw.map((s) => s.score), cls: "role-score", stairs: true, area: true }], onpick: pick }));
    for (const role of Object.keys(ep.roles)) {
      const of = (k) => ep.raw.map((s) => s.calls.find((c) => c.role === role && c[k] !== undefined)?.[k] ?? NaN);
      const lines = [["V", "value", "role-v", null], ["Q", "q", "role-q", null], ["advantage", "advantage", "role-adv", "2 2"]].map(([name, k, cls, dash]) => ({ name, values: of(k), cls, dash }));
      if (lines.some((l) => extent(l.values).length)) this.charts.push(chart({ title: `Critics of the ${role} policy`, lines, onpick: pick, format: (v) => v.toFixed(2) }));
    }
  }

  /** The skeleton of the middle column; `show` fills it. */
  buildStep() {
    const p = this.parts;
    const field = (key, label, cls = "sv-text") => [el("dt", {}, label), el("dd", {}, (p[key] = el("div", { class: cls, dir: "auto" })))];
    p.alarm = el("ul", { class: "sv-alarm", "aria-label": "Signs of trouble" });
    p.position = el("h4", { class: "sv-position" });
    p.badges = el("div", { class: "sv-badges" });
    p.newroom = el("span", { class: "sv-badge" }, "new room");
    const before = el("dl", { class: "sv-fields" }, field("subtask", el("span", {}, swatch("high"), " Subtask"), "sv-text sv-strong"), (p.noteRow = el("div", { class: "sv-pair" }, field("note", el("span", {}, swatch("progress"), " Note before"), "sv-text sv-note"))),
      field("text", "Was told"), el("dt", {}, "Room ", p.newroom), el("dd", {}, (p.look = el("div", { class: "sv-text sv-mono", dir: "auto" }))), field("inventory", "Carries", "sv-text sv-mono"));
    p.action = el("code", { class: "sv-action", dir: "auto" });
    const after = el("dl", { class: "sv-fields" }, field("answer", "Answer"), (p.afterRow = el("div", { class: "sv-pair" }, field("noteAfter", el("span", {}, swatch("progress"), " Note after"), "sv-text sv-note"))));
    p.final = el("details", { class: "sv-details" }, el("summary", {}, "The room and what is carried at the end"), (p.finalText = el("pre", { class: "sv-pre", dir: "auto" })));
    p.info = el("details", { class: "sv-details" }, el("summary", {}, "Kept by the environment (no policy reads it)"), (p.infoText = el("pre", { class: "sv-pre", dir: "auto" })));
    const meta = this.ep.meta ? el("details", { class: "sv-details" }, el("summary", {}, "Kept with the episode"), el("pre", { class: "sv-pre", dir: "auto" }, this.ep.meta)) : null;
    this.middle.replaceChildren(...[el("div", { class: "sv-line1" }, p.position, p.alarm), el("div", { class: "sv-card" }, before),
      el("div", { class: "sv-card sv-act" }, swatch("low"), el("span", { class: "sv-label" }, "Does"), p.action, p.badges), el("div", { class: "sv-card" }, after), p.final, this.calls, p.info, meta].filter(Boolean));
  }

  // -- drawn at every step

  show(step) { keepFocus(this.app.root, () => this.draw(step)); }

  draw(step) {
    const { ep, app, parts: p } = this;
    if (ep.n === 0) { this.step = 0; return app.moved(this); }
    this.step = clamp(Math.round(step) || 0, 0, ep.n - 1);
    const s = ep.step(this.step), find = app.find;
    const g = ep.subtasks[s.subtask];
    const last = this.step === ep.n - 1;
    const notes = s.note || s.note_after.length || ep.roles.progress;
    p.position.textContent = `Step ${count(this.step + 1)} of ${count(ep.n)}`;
    p.alarm.replaceChildren(...s.issues.map((i) => el("li", {}, el("span", { "aria-hidden": "true" }, "⚠ "), swatch(i.role), ` ${i.role}: ${i.text}`)));
    putText(p.subtask, g ? g.name : "no subtask", find);
    p.noteRow.hidden = p.afterRow.hidden = !notes;
    s.note ? putText(p.note, s.note, find) : p.note.replaceChildren(el("i", { class: "sv-muted" }, g && g.start === this.step ? "empty: the subtask begins" : "empty"));
    this.field("text", [["=", s.text]], s.toldRoom);
    this.field("look", s.look);
    this.field("inventory", s.inventory);
    p.newroom.hidden = !s.new_room;
    putText(p.action, s.action || "(no action)", find);
    this.field("answer", [["=", s.answer]], s.answeredRoom);
    s.note_after.length ? putMarked(p.noteAfter, s.note_after, find) : p.noteAfter.replaceChildren(el("i", { class: "sv-muted" }, "empty"));
    this.badges(s);
    p.final.hidden = !(last && (ep.final.look || ep.final.inventory));
    if (!p.final.hidden) putText(p.finalText, [ep.final.look, ep.final.inventory].filter(Boolean).join("\n\n"), find);
    p.info.hidden = !s.info;
    if (s.info) putText(p.infoText, s.info, find);
    this.drawPlan(s);
    this.drawTokens(s);
    this.drawCalls(s);
    this.range.value = this.step;
    this.range.setAttribute("aria-valuetext", `step ${this.step + 1} of ${ep.n}: ${s.action.slice(0, 80)}`);
    for (const c of this.charts) c.at(this.step);
    app.moved(this);
  }

  /** A field of the observation: hidden with its label when this environment has no such text; in our own words when it is the room once more. */
  field(key, marks, isRoom = false) {
    const dd = this.parts[key].parentNode, empty = !isRoom && !marks.some((m) => m[1]);
    dd.hidden = dd.previousElementSibling.hidden = empty;
    if (isRoom) this.parts[key].replaceChildren(el("i", { class: "sv-muted" }, "the room, as shown here"));
    else if (!empty) putMarked(this.parts[key], marks, this.app.find);
  }

  badges(s) {
    const before = this.step ? this.ep.raw[this.step - 1].score : 0;
    const badge = (cls, ...words) => el("span", { class: `sv-badge ${cls}` }, ...words);
    const list = [s.valid ? badge("is-valid", "✓ valid") : badge("is-invalid", "✕ invalid")];
    if (s.reward) list.push(badge(s.reward > 0 ? "is-reward" : "is-invalid", `${s.reward > 0 ? "▲" : "▼"} ${signed(s.reward * 100)} points`));
    else list.push(badge("", "no reward"));
    list.push(badge("", before === s.score ? `score ${tidy(s.score)}` : `score ${tidy(before)} → ${tidy(s.score)}`));
    if (s.done) list.push(badge("is-done", "■ says: subtask done"));
    this.parts.badges.replaceChildren(...list);
  }

  /** The subtasks as a tree, built once (a window of them when there are very many); the current one is unfolded to its steps. */
  drawPlan(s) {
    const { ep } = this;
    const groups = ep.subtasks.length ? ep.subtasks : [{ name: "all steps", start: 0, end: ep.n, state: "none" }];
    const now = ep.subtasks.length ? s.subtask : 0;
    const from = groups.length > 60 ? Math.max(0, now - 6) : 0, to = groups.length > 60 ? Math.min(groups.length, now + 10) : groups.length;
    if (this.planKey !== `${from}-${to}`) {
      this.planKey = `${from}-${to}`;
      const more = (n, where) => (n > 0 ? [el("li", { class: "sv-muted" }, `${plural(n, "subtask")} ${where}`)] : []);
      this.branches = groups.slice(from, to).map((g, i) => this.branch(g, from + i));
      this.planTitle = el("span", { class: "sv-muted" });
      this.plan.replaceChildren(el("h4", {}, ep.subtasks.length ? "Subtasks " : "Steps ", this.planTitle), el("ol", { class: "sv-tree" }, more(from, "before"), this.branches.map((b) => b.node), more(groups.length - to, "after")));
      this.planNow = null;
    }
    if (this.planNow !== now) {
      this.planNow = now;
      this.planTitle.textContent = ep.subtasks.length ? `${Math.max(0, now)} done before, ${groups.length} in all` : count(ep.n);
      for (const b of this.branches) this.markBranch(b, now);
    }
    const current = this.branches[now - from];
    if (current) this.fillLeaves(current.g, current.leaves);
  }

  branch(g, k) {
    const icon = { verified: "✔", "not done": "✘", "said done": "✓", open: "…", none: "" }[g.state];
    const button = el("button", { type: "button", class: "sv-branch", onclick: () => this.unfold(b) },
      el("span", { class: "sv-icon", "aria-hidden": "true" }, icon), el("span", { class: "sv-gname", dir: "auto" }, g.name), el("span", { class: "sv-muted" }, ` ${g.end - g.start}`));
    const handed = g.final_note ? el("p", { class: "sv-handed", dir: "auto" }, swatch("progress"), " ", g.final_note) : null;
    const leaves = el("ol", { class: "sv-leaves", start: g.start + 1, hidden: true });
    const b = { g, k, button, handed, leaves, node: el("li", {}, button, handed, leaves), when: "" };
    return b;
  }

  /** Past, current or later? Only what changes is touched. */
  markBranch(b, now) {
    const when = b.k < now ? "is-past" : b.k === now ? "is-now" : "is-later", here = when === "is-now";
    if (b.when === when && b.leaves.hidden !== here) return;
    b.when = b.node.className = when;
    b.leaves.hidden = !here;
    if (!here) b.leaves.replaceChildren(); // filled again when it is unfolded
    if (b.handed) b.handed.hidden = when !== "is-past";
    b.button.setAttribute("aria-expanded", String(here));
    b.button.setAttribute("aria-label", `${b.g.name} — ${b.g.state === "none" ? "" : b.g.state + ", "}${plural(b.g.end - b.g.start, "step")}${here ? ", current" : ""}`);
  }

  unfold({ g, button, leaves }) {
    leaves.hidden = !leaves.hidden;
    button.setAttribute("aria-expanded", String(!leaves.hidden));
    if (!leaves.hidden) this.fillLeaves(g, leaves);
  }

  fillLeaves(g, leaves) {
    const { ep, app } = this;
    const part = g.start + 30 * Math.floor((clamp(this.step, g.start, g.end - 1) - g.start) / 30); // thirty at a time, and five on either side
    const from = Math.max(g.start, part - 5), to = Math.min(g.end, part + 35);
    if (leaves.childElementCount && leaves.start === from + 1) return this.markLeaf(leaves);
    leaves.start = from + 1;
    leaves.replaceChildren(...Array.from({ length: Math.max(0, to - from) }, (_, k) => from + k).map((t) => {
      const s = ep.raw[t];
      const words = `${s.valid ? "" : "✕ "}${ep.actions[t].slice(0, 120)}`;
      return el("li", { value: t + 1 }, el("button", { type: "button", class: "sv-leaf", dir: "auto", "aria-current": t === this.step ? "step" : null, onclick: () => app.go(t, this) },
        words, s.reward ? el("b", { class: "sv-gain" }, ` ${signed(s.reward * 100)}`) : null, s.done ? el("span", { class: "sv-muted" }, " ■") : null));
    }));
  }

  markLeaf(leaves) {
    leaves.querySelector("[aria-current]")?.removeAttribute("aria-current");
    leaves.querySelector(`li[value="${this.step + 1}"] button`)?.setAttribute("aria-current", "step");
  }

  drawTokens(s) {
    const { ep } = this;
    const roles = Object.keys(ep.roles);
    const read = roles.map((r) => ep.roles[r].read[this.step]), wrote = roles.map((r) => ep.roles[r].wrote[this.step]);
    const total = read.reduce((a, b) => a + b, 0), history = ep.full_history[this.step] ?? 0, most = Math.max(history, total, 1);
    const bar = (cls, n) => el("td", { class: "sv-barcell" }, el("span", { class: `sv-bar1 ${cls}`, style: `width:${(100 * n) / most}%`, "aria-hidden": "true" }));
    const row = (cls, who, n, w, extra) => el("tr", { class: extra }, el("th", { scope: "row" }, el("span", { class: `sv-swatch ${cls}`, "aria-hidden": "true" }), " ", bdi(who)), el("td", { class: "sv-right" }, n === null ? "–" : count(n)), el("td", { class: "sv-right" }, w === null ? "–" : count(w)), bar(cls, n ?? 0));
    const rows = roles.map((r, i) => row(roleClass(r), r, read[i], wrote[i]));
    if (roles.length > 1) rows.push(row("role-sum", ep.expected ? "all roles" : "this agent, all roles", total, wrote.reduce((a, b) => a + b, 0), "sv-total"));
    rows.push(row("role-history", "full history", history, null, "sv-history"));
    const me = ep.expected ? "a step-level agent would read" : "this agent read";
    const ratio = `A full-history agent would have had to read ${count(history)} tokens here` + (total ? `, ${(history / total).toFixed(1)} times what ${me}.` : `. No model was called ${roles.length ? "at this step" : "in this episode"}.`);
    this.tokens.replaceChildren(el("h4", {}, ep.expected ? "Tokens that a step-level agent would read here" : "Tokens at this step"), el("table", { class: "sv-token-table" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "role"), el("th", { scope: "col", class: "sv-right" }, "read"), el("th", { scope: "col", class: "sv-right" }, "wrote"), el("td"))), el("tbody", {}, rows)),
      el("p", { class: "sv-ratio" }, ratio), el("p", { class: "sv-muted sv-small" }, `${ep.expected ? "No model was called; all counts are" : "Full history:"} ${ep.full_history_label}.`));
  }

  drawCalls(s) {
    const { app } = this;
    const call = (c, n) => {
      const numbers = [`read ${count(c.read)}`, `wrote ${count(c.wrote)}`, ...[["log p", c.logprob], ["V", c.value], ["Q", c.q], ["A", c.advantage]].filter(([, v]) => v !== undefined).map(([k, v]) => `${k} ${v === null ? "–" : v.toFixed(2)}`)];
      const box = el("details", { class: "sv-call", ...(app.openRoles.has(c.role) ? { open: true } : {}) });
      const fill = () => {
        if (box.childElementCount > 1) return;
        box.append(el("div", { class: "sv-call-body" }, el("div", {}, el("h5", {}, this.ep.expected ? "Prompt" : "Prompt, exactly as read"), putText(el("pre", { class: "sv-pre", tabindex: 0, role: "region", "aria-label": `prompt of call ${n + 1}, ${c.role}`, dir: "auto" }), c.prompt, app.find)),
          el("div", {}, el("h5", {}, this.ep.expected ? "Completion" : "Completion, exactly as written"), putText(el("pre", { class: "sv-pre", tabindex: 0, role: "region", "aria-label": `completion of call ${n + 1}, ${c.role}`, dir: "auto" }), c.completion, app.find))));
      };
      box.append(el("summary", {}, swatch(c.role), el("b", {}, " ", bdi(c.role), " "), el("span", { class: "sv-muted" }, `${ROLE_WORK[c.role] ?? ""} · ${numbers.join(" · ")}`), el("code", { class: "sv-peek", dir: "auto" }, c.completion.trim().slice(0, 160))));
      box.addEventListener("toggle", () => { box.open ? app.openRoles.add(c.role) : app.openRoles.delete(c.role); if (box.open) fill(); });
      if (box.open) fill();
      return box;
    };
    const title = this.ep.expected ? ["What each role would read and write ", "a demonstration: no model was called"] : ["Model calls ", null];
    this.calls.replaceChildren(el("h4", {}, title[0], el("span", { class: "sv-muted" }, title[1] ?? (s.calls.length ? `${s.calls.length} at this step: open one to read its exact prompt` : "none at this step"))), ...s.calls.map(call));
  }

  // -- search, moves, size

  search() {
    const { find, prompts } = this.app;
    this.hits = [];
    if (find && this.ep) {
      const test = new RegExp(find.source, "iu");
      for (let t = 0; t < this.ep.n; t++) if (test.test(searchable(this.ep, t, prompts))) this.hits.push(t);
    }
    if (this.track) this.drawTrack();
  }

  next(list, direction = 1) {
    const found = direction > 0 ? list.find((i) => i > this.step) : list.filter((i) => i < this.step).pop();
    return found ?? null;
  }

  subtaskStart(direction) {
    const starts = this.ep.subtasks.map((g) => g.start).filter((t) => t < this.ep.n);
    return this.next([...new Set(starts)], direction) ?? (direction < 0 ? 0 : this.ep.n - 1);
  }

  resize() {
    if (!this.ep || !this.ep.n) return;
    this.drawTrack();
    for (const c of this.charts) c.draw();
  }

  recharts() {
    if (!this.ep?.n) return;
    this.buildCharts();
    this.meters.replaceChildren(this.tokens, ...this.charts.map((c) => c.node));
    for (const c of this.charts) { c.draw(); c.at(this.step); }
  }
}

// ---------------------------------------------------------------- the whole viewer

const KEYS = [
  ["← →", "one step back, forward"], ["↑ ↓", "subtask before, after"], ["Home End", "first, last step"], ["space", "play, pause"], ["+ −", "faster, slower"],
  ["r R", "next, previous reward"], ["e E", "next, previous sign of trouble"], ["/", "search this episode; Enter: next hit, Shift+Enter: previous"], ["n N", "next, previous hit"],
  ["p", "open or close all prompts"], ["[ ]", "episode before, after"], ["l", "show or hide the list"], ["c", "compare with another episode of this task"], ["s", "comparing: in step, or each on its own"], ["?", "this help"], ["Esc", "close, leave the search"],
];
const SPEEDS = [0.5, 1, 2, 4, 8, 16];

class App {
  constructor(model, root, rows, { standalone, title }) {
    Object.assign(this, { model, root, rows, standalone, panes: [], linked: true, speed: 1, find: null, prompts: false, cumulative: false, openRoles: new Set(), timer: null });
    this.store = new Store(model, rows);
    this.abort = new AbortController();
    root.classList.add("stephrl-viewer");
    root.classList.toggle("sv-standalone", standalone);
    Object.entries({ tabindex: 0, role: "group", "aria-label": title, [QUIET]: "true" }).forEach(([k, v]) => root.setAttribute(k, v));
    this.live = el("p", { class: "sv-hidden", "aria-live": "polite" });
    this.arena = el("div", { class: "sv-arena" });
    this.notice = el("p", { class: "sv-notice", role: "status", hidden: true });
    this.list = rows.length > 1 ? new List(this) : null;
    this.help = this.makeHelp();
    root.replaceChildren(this.toolbar(title), this.notice, ...(this.list ? [this.list.node] : []), this.arena, this.help, this.live);
    (standalone ? document : root).addEventListener("keydown", (e) => this.key(e), { signal: this.abort.signal });
  }

  start() {
    const compare = this.model.get("compare");
    if (compare) {
      this.list.node.hidden = true;
      this.setPanes([0, 1], this.model.get("step"));
    }
    else this.setPanes([clamp(this.model.get("episode"), 0, this.rows.length - 1)], this.model.get("step"));
    if (this.standalone) {
      this.followLink();
      addEventListener("hashchange", () => this.followLink(), { signal: this.abort.signal });
    }
    this.model.on("change:step", () => { if (this.model.get("step") !== this.pane.step) this.go(this.model.get("step")); });
    this.model.on("change:episode", () => { if (this.panes.length === 1 && this.model.get("episode") !== this.pane.index) this.open(this.model.get("episode")); });
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.saving);
    this.abort.abort();
    this.panes.forEach((p) => p.observer.disconnect());
  }

  // -- toolbar

  toolbar(title) {
    const button = (key, label, words, action) => (this[key] = el("button", { type: "button", class: "sv-button", title: label, "aria-label": label, onclick: action }, words));
    const several = this.rows.length > 1;
    this.speedPick = el("select", { "aria-label": "Speed, steps a second", title: "Speed", onchange: (e) => { this.speed = Number(e.target.value); } }, SPEEDS.map((s) => el("option", { value: s, ...(s === 1 ? { selected: true } : {}) }, `${s}×`)));
    this.query = el("input", { type: "search", class: "sv-search", placeholder: "Search the steps ( / )", "aria-label": "Search this episode", oninput: () => this.searchSoon() });
    this.searchStatus = el("span", { class: "sv-muted sv-small", role: "status" });
    const prompts = el("label", { class: "sv-check" }, el("input", { type: "checkbox", onchange: (e) => { this.prompts = e.target.checked; this.search(); } }), " prompts too");
    this.linkPick = el("label", { class: "sv-check", hidden: true }, (this.linkBox = el("input", { type: "checkbox", checked: true, onchange: (e) => this.setLinked(e.target.checked) })), " in step");
    const group = (label, ...kids) => el("div", { class: "sv-group", role: "group", "aria-label": label }, ...kids);
    return el("div", { class: "sv-toolbar" },
      group("Episodes", ...(several ? [button("listButton", "Show or hide the list (l)", symbol("list"), () => this.toggleList()), button("prevEpisode", "Episode before ([)", symbol("left"), () => this.neighbour(-1)), button("nextEpisode", "Episode after (])", symbol("right"), () => this.neighbour(1))] : []), el("h2", { class: "sv-name" }, title)),
      group("Steps", button("first", "First step (Home)", symbol("first"), () => this.go(0)), button("back", "Step back (←)", symbol("back"), () => this.go(this.pane.step - 1)), button("playButton", "Play (space)", [symbol("play"), "Play"], () => this.play()), button("forward", "Step forward (→)", symbol("forward"), () => this.go(this.pane.step + 1)), button("last", "Last step (End)", symbol("last"), () => this.go(Infinity)), this.speedPick),
      group("Search", this.query, prompts, this.searchStatus),
      group("More", this.linkPick, button("splitButton", "First different action", "≠", () => this.firstDifference()), button("compareButton", "Compare with another episode of this task (c)", "Compare", () => this.compare()),
        ...(this.standalone ? [button("themeButton", "Light or dark", symbol("theme"), () => this.theme())] : []), button("helpButton", "Keys (?)", "?", () => this.toggleHelp())));
  }

  makeHelp() {
    const close = el("button", { type: "button", class: "sv-button", onclick: () => this.toggleHelp(false) }, "Close");
    return el("div", { class: "sv-help", role: "dialog", "aria-label": "Keys", hidden: true }, el("h3", {}, "Keys"),
      el("dl", {}, KEYS.flatMap(([k, words]) => [el("dt", {}, ...k.split(" ").map((x) => el("kbd", {}, x))), el("dd", {}, words)])),
      el("p", {}, "On the bar: ▼ reward, ✕ sign of trouble, a stripe for each subtask. In texts: ", el("ins", { class: "sv-new" }, "new"), " and ", el("del", { class: "sv-gone" }, "gone"), " since the step before."), close);
  }

  toggleHelp(show = this.help.hidden) {
    this.help.hidden = !show;
    (show ? this.help.querySelector("button") : this.root).focus({ preventScroll: true });
  }

  toggleList() {
    if (!this.list) return;
    if (this.list.node.contains(document.activeElement)) this.root.focus({ preventScroll: true });
    this.list.node.hidden = !this.list.node.hidden;
    this.list.rows(true);
  }

  theme() {
    const dark = this.root.dataset.theme ? this.root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    this.root.dataset.theme = dark ? "light" : "dark";
    document.documentElement.dataset.theme = this.root.dataset.theme;
  }

  say(words) { keepFocus(this.root, () => { this.notice.textContent = words; this.notice.hidden = !words; }); }

  // -- which episodes

  setPanes(indices, step = 0) {
    this.pause();
    this.panes.forEach((p) => p.observer.disconnect());
    this.panes = indices.map((_, k) => new Pane(this, k));
    this.pane = this.panes[0];
    keepFocus(this.root, () => this.arena.replaceChildren(...this.panes.map((p) => p.node)));
    this.arena.classList.toggle("is-double", this.panes.length > 1);
    this.linkPick.hidden = this.splitButton.hidden = this.panes.length < 2;
    this.compareButton.setAttribute("aria-pressed", String(this.panes.length > 1));
    this.panes.forEach((p, k) => p.open(indices[k], step));
    this.activate(this.pane);
    this.list?.rows(true);
  }

  open(index, step = 0) {
    if (index < 0 || index >= this.rows.length) return;
    this.say("");
    if (this.panes.length > 1) return this.setPanes([index], step);
    this.pause();
    this.pane.open(index, step);
    this.list?.rows(true);
  }

  neighbour(direction) {
    const order = this.list?.shown.length ? this.list.shown : [this.pane.index];
    const at = order.indexOf(this.pane.index);
    this.open(order[clamp(at < 0 ? 0 : at + direction, 0, order.length - 1)]);
  }

  compare() {
    if (this.panes.length > 1) return this.setPanes([this.pane.index], this.pane.step);
    const here = this.rows[this.pane.index];
    const same = indices(this.rows, (r) => r.env === here.env && r.task === here.task && r.variation === here.variation).filter((i) => i !== this.pane.index);
    if (same.length === 0) return this.say(`No other episode of ${here.task}, variation ${here.variation} is loaded.`);
    if (same.length === 1) return this.setPanes([this.pane.index, same[0]], this.pane.step);
    const pick = el("select", { "aria-label": "Compare with", onchange: (e) => { this.say(""); this.setPanes([this.pane.index, Number(e.target.value)], this.pane.step); } },
      el("option", { value: "" }, "Compare with …"), same.map((i) => el("option", { value: i }, `${this.rows[i].source} · score ${this.rows[i].score} · seed ${this.rows[i].seed}`)));
    this.say("");
    this.notice.hidden = false;
    this.notice.append(pick);
    pick.focus();
  }

  setLinked(on) { this.linked = this.linkBox.checked = on; if (on) this.go(this.pane.step); }

  firstDifference() {
    const [a, b] = this.panes.map((p) => p.ep?.actions ?? []);
    const n = Math.min(a.length, b.length);
    let t = 0;
    while (t < n && a[t] === b[t]) t++;
    if (t === n && a.length === b.length) return this.say("Both do the same at every step.");
    this.setLinked(true);
    this.go(Math.min(t, Math.max(a.length, b.length) - 1));
    this.say(`The first different action is at step ${t + 1}.`);
  }

  activate(pane) {
    this.pane = pane;
    this.panes.forEach((p) => p.node.classList.toggle("is-active", p === pane && this.panes.length > 1));
  }

  // -- moving

  go(step, pane = this.pane) {
    const together = this.linked && this.panes.length > 1;
    const longest = Math.max(...this.panes.map((p) => p.ep?.n ?? 1));
    const target = clamp(step, 0, Math.max(1, together ? longest : pane.ep?.n ?? 1) - 1);
    this.target = target;
    for (const p of together ? this.panes : [pane]) if (p.ep) p.show(target);
  }

  /** A pane shows another step: tell Python, the address bar and the screen reader. */
  moved(pane) {
    const { ep, step } = pane;
    if (pane !== this.pane || !ep) return;
    const s = ep.n ? ep.step(step) : null;
    const at = this.linked && this.panes.length > 1 ? this.target ?? step : step;
    const longest = this.linked ? Math.max(...this.panes.map((p) => p.ep?.n ?? 0)) : ep.n;
    const off = (buttons, yes) => buttons.forEach((b) => b.setAttribute("aria-disabled", String(yes))); // not `disabled`: that would drop the focus
    off([this.first, this.back], at <= 0);
    off([this.last, this.forward], at >= longest - 1);
    if (this.timer === null) this.live.textContent = s ? `Step ${step + 1} of ${ep.n}. ${s.action}. ${s.valid ? "" : "Invalid. "}${s.reward ? `Reward ${signed(s.reward * 100)}. ` : ""}Score ${tidy(s.score)}.` : "Empty episode.";
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.save(pane), 150);
  }

  save(pane) {
    if (this.panes.length === 1) this.model.set("episode", pane.index);
    this.model.set("step", pane.step);
    this.model.save_changes();
    if (!this.standalone) return;
    const link = `#episode=${encodeURIComponent(this.rows[pane.index].id)}&step=${pane.step + 1}`;
    if (location.hash !== link) history.replaceState(null, "", link);
  }

  followLink() {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (!asked.has("episode") && !asked.has("step")) return;
    const name = asked.get("episode");
    const index = name === null ? this.pane.index : this.rows.findIndex((r) => r.id === name);
    const number = /^\d+$/.test(name ?? "") ? Number(name) - 1 : -1;
    const found = index >= 0 ? index : number < this.rows.length ? number : -1;
    const step = Number(asked.get("step") ?? 1) - 1;
    if (found < 0) return this.say(`The link names the episode “${name}”, which is not in this file. Showing the first one.`);
    const pane = this.panes.find((p) => p.index === found);
    if (!pane) return this.open(found, step);
    this.activate(pane);
    for (const p of this.linked ? this.panes : [pane]) p.wanted = step; // for one that is still being opened
    this.go(step);
  }

  play() {
    if (this.timer !== null) return this.pause();
    const end = () => Math.max(...(this.linked ? this.panes : [this.pane]).map((p) => p.ep?.n ?? 0)) - 1;
    const now = () => (this.linked && this.panes.length > 1 ? Math.max(...this.panes.map((p) => p.step)) : this.pane.step);
    if (now() >= end()) this.go(0);
    const tick = () => {
      if (now() >= end()) return this.pause();
      this.go(now() + 1);
      this.timer = setTimeout(tick, 1000 / this.speed);
    };
    this.timer = setTimeout(tick, 1000 / this.speed);
    this.playButton.replaceChildren(symbol("pause"), "Pause");
    this.playButton.setAttribute("aria-label", "Pause (space)");
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.playButton.replaceChildren(symbol("play"), "Play");
    this.playButton.setAttribute("aria-label", "Play (space)");
  }

  setSpeed(change) {
    this.speed = SPEEDS[clamp(SPEEDS.indexOf(this.speed) + change, 0, SPEEDS.length - 1)];
    this.speedPick.value = this.speed;
  }

  setCumulative(on) {
    this.cumulative = on;
    this.panes.forEach((p) => p.recharts());
  }

  jump(list, direction, what) {
    const t = this.pane.ep ? this.pane.next(list, direction) : null;
    this.say(t === null ? `No ${direction > 0 ? "later" : "earlier"} ${what}.` : "");
    if (t !== null) this.go(t);
  }

  // -- search

  searchSoon() { clearTimeout(this.searching); this.searching = setTimeout(() => this.search(), 120); }

  search() {
    clearTimeout(this.searching);
    const words = this.query.value.trim();
    this.find = words ? new RegExp(escapeRegExp(words), "giu") : null;
    for (const p of this.panes) if (p.ep) { p.search(); p.show(p.step); }
    this.found();
  }

  found() {
    const { hits, step } = this.pane;
    const at = hits.indexOf(step);
    this.searchStatus.textContent = !this.find ? "" : hits.length ? `${at >= 0 ? `${at + 1} of ` : ""}${plural(hits.length, "step")}` : "nothing found";
  }

  nextHit(direction) {
    if (this.query.value.trim() && !this.find) this.search();
    const { hits, step } = this.pane;
    if (hits.length) {
      this.go(this.pane.next(hits, direction) ?? (direction > 0 ? hits[0] : hits[hits.length - 1]));
      this.reveal();
    }
    this.found();
  }

  /** Bring the first hit of this step into view; one that stands in a folded prompt or in the last room unfolds it. */
  reveal() {
    const { pane } = this, { ep, step } = pane;
    const seen = () => [...pane.node.querySelectorAll("mark")].find((m) => !m.closest("details:not([open])"));
    if (!seen() && this.prompts) {
      const test = new RegExp(this.find.source, "iu");
      for (const c of ep.step(step).calls) if (test.test(c.prompt) || test.test(c.completion)) this.openRoles.add(c.role);
      pane.show(step);
    }
    if (!seen() && pane.parts.final.querySelector("mark")) pane.parts.final.open = true;
    seen()?.scrollIntoView({ block: "nearest" });
  }

  // -- keys

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    if (this.standalone && e.target !== document.body && !this.root.contains(e.target)) return;
    const typing = e.target.matches?.("input[type=search], textarea");
    if (typing && e.target === this.query && e.key === "Enter") { e.preventDefault(); this.search(); return this.nextHit(e.shiftKey ? -1 : 1); }
    if (e.key === "Escape") return this.escape(e);
    if (typing) return;
    if (e.target.matches?.("select")) return; // there letters choose and arrows move
    if (e.target.matches?.("button, summary, input[type=checkbox]") && (e.key === " " || e.key === "Enter")) return;
    if (e.target.matches?.("pre") && /^(Arrow|Home|End|Page)/.test(e.key)) return; // the keys scroll a long prompt
    const action = this.actions()[e.key];
    if (!action || !this.pane.ep) return;
    e.preventDefault();
    e.stopPropagation();
    action();
  }

  actions() {
    const { pane } = this, ep = pane.ep;
    const together = this.linked && this.panes.length > 1;
    const at = together ? Math.max(...this.panes.map((p) => p.step)) : pane.step;
    return {
      ArrowLeft: () => this.go(at - 1), ArrowRight: () => this.go(at + 1), ArrowUp: () => this.go(pane.subtaskStart(-1)), ArrowDown: () => this.go(pane.subtaskStart(1)),
      Home: () => this.go(0), End: () => this.go(Infinity), " ": () => this.play(), "+": () => this.setSpeed(1), "=": () => this.setSpeed(1), "-": () => this.setSpeed(-1),
      r: () => this.jump(ep.rewards, 1, "reward"), R: () => this.jump(ep.rewards, -1, "reward"), e: () => this.jump(ep.troubles, 1, "sign of trouble"), E: () => this.jump(ep.troubles, -1, "sign of trouble"),
      "/": () => { this.query.focus(); this.query.select(); }, n: () => this.nextHit(1), N: () => this.nextHit(-1), p: () => this.togglePrompts(),
      "[": () => this.neighbour(-1), "]": () => this.neighbour(1), l: () => this.toggleList(), c: () => this.compare(), s: () => this.panes.length > 1 && this.setLinked(!this.linked), "?": () => this.toggleHelp(),
    };
  }

  escape(e) {
    e.preventDefault();
    e.stopPropagation();
    if (!this.help.hidden) return this.toggleHelp(false);
    if (e.target === this.query && this.query.value) { this.query.value = ""; this.search(); }
    this.say("");
    this.pause();
    this.root.focus({ preventScroll: true });
  }

  togglePrompts() {
    const roles = Object.keys(this.pane.ep.roles);
    const all = roles.every((r) => this.openRoles.has(r));
    this.openRoles = new Set(all ? [] : roles);
    this.panes.forEach((p) => p.show(p.step));
  }
}

// ---------------------------------------------------------------- the curves of a training run

/** Exponential moving average; gaps stay gaps. */
function smooth(values, amount) {
  let mean = null;
  return values.map((v) => (Number.isFinite(v) ? (mean = mean === null ? v : amount * mean + (1 - amount) * v) : NaN));
}

const compact = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e4 ? short(v) : Math.abs(v) < 1e-3 ? v.toExponential(1) : String(Number(v.toPrecision(3))));

class Monitor {
  constructor(model, root) {
    Object.assign(this, { model, root, amount: 0 });
    root.classList.add("stephrl-viewer");
    Object.entries({ role: "group", tabindex: 0, "aria-label": `Training in ${model.get("title")}`, [QUIET]: "true" }).forEach(([k, v]) => root.setAttribute(k, v));
    this.status = el("span", { class: "sv-muted", role: "status" });
    this.board = el("div", { class: "sv-board" });
    const slider = el("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, "aria-label": "Smoothing", oninput: (e) => { this.amount = Number(e.target.value); this.draw(); } });
    root.replaceChildren(el("div", { class: "sv-toolbar" }, el("h2", { class: "sv-name" }, `Training in ${model.get("title")}`), el("label", { class: "sv-check" }, "smoothing ", slider), this.status), this.board);
    this.observer = new ResizeObserver(() => requestAnimationFrame(() => this.pictures.forEach((c) => c.draw())));
    this.observer.observe(root);
    model.on("change:charts", () => this.draw());
    model.on("change:updated", () => this.words());
    model.on("change:live", () => this.words());
    this.draw();
  }

  words() {
    this.status.textContent = `${this.model.get("live") ? "live" : "not watching"} · last change ${this.model.get("updated")}`;
  }

  draw() {
    const all = this.model.get("charts");
    const logs = [...new Set(all.map((c) => c.log))];
    this.pictures = [];
    const sections = logs.map((log) => el("section", { class: "sv-log", "aria-label": log }, el("h3", {}, log), el("div", { class: "sv-curves" }, all.filter((c) => c.log === log).map((c) => this.curve(c)))));
    this.board.replaceChildren(...(logs.length ? sections : [el("p", { class: "sv-empty" }, "No log yet. Curves appear with the first record.")]));
    this.pictures.forEach((c) => c.draw());
    this.words();
  }

  curve(c) {
    const xs = [...new Set(c.lines.flatMap((l) => l.steps))].sort((a, b) => a - b);
    const place = new Map(xs.map((x, i) => [x, i]));
    const dashes = [undefined, "5 3", "2 2", "7 2 2 2"];
    const lines = c.lines.map((l, i) => {
      const values = smooth(l.values.map((v) => v ?? NaN), this.amount);
      const full = new Array(xs.length).fill(undefined); // undefined: not logged at this step (no gap); NaN: logged, not finite
      l.steps.forEach((x, k) => { full[place.get(x)] = values[k]; });
      return { name: l.name, values: filled(full), cls: l.role ? roleClass(l.role) : c.lines.length > 1 && i === 0 ? "role-sum" : "role-low", dash: l.role ? ROLE_DASHES[l.role] : dashes[i % 4] };
    });
    const picture = chart({ title: c.title, lines, xs, height: 130, format: compact, zero: false, hover: true });
    picture.at(xs.length - 1);
    this.pictures.push(picture);
    return picture.node;
  }

  stop() { this.observer.disconnect(); }
}

/** Straight lines between the logged points of a series that is logged more rarely than another in its chart. */
function filled(values) {
  const out = values.slice();
  let before = -1;
  values.forEach((v, i) => {
    if (v === undefined) return;
    for (let k = before + 1; before >= 0 && k < i; k++) out[k] = values[before] + ((v - values[before]) * (k - before)) / (i - before);
    before = i;
  });
  return out.map((v) => v ?? NaN);
}

// ---------------------------------------------------------------- entry points

async function render({ model, el: host }) {
  if (model.get("kind") === "training") {
    const monitor = new Monitor(model, host.appendChild(el("div")));
    return () => monitor.stop();
  }
  const root = el("div");
  host.append(root);
  root.textContent = "Opening …";
  const { rows, title } = await inflate(model.get("index"));
  if (!rows.length) {
    root.className = "stephrl-viewer";
    root.replaceChildren(el("p", { class: "sv-empty" }, "No episodes to show."));
    return undefined;
  }
  const app = new App(model, root, rows, { standalone: Boolean(model.standalone), title });
  app.start();
  return () => app.stop();
}

/** The standalone page: a stand-in for the widget's model, fed from the script tags of the page. */
export function openPage(host, settings) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const packs = new Proxy({}, { get: (_, i) => { const tag = document.getElementById(`pack-${String(i)}`); return tag ? bytes(tag.textContent) : undefined; } });
  const state = { episode: 0, step: 0, compare: false, ...settings, packs, index: bytes(document.getElementById("index").textContent) };
  const model = { standalone: true, get: (k) => state[k], set: (k, v) => { state[k] = v; }, on() {}, off() {}, save_changes() {}, send() {} };
  return render({ model, el: host });
}

export default { render };
