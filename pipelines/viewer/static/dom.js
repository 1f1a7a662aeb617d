// Elements and words: everything that came from a file is set as text, never as markup.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(made.style, value);
    else if (name in made && !name.includes("-")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

// Verdicts are told by shape and word as well as by colour.
const MARKS = {
  ok: "M3.5 8.5 6.5 11.5 12.5 4.5",
  partial: "M8 3.5v6M8 12.4v.1",
  failed: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  unfinished: "M8 5v3l2 1.5M8 2a6 6 0 1 0 .01 0",
  uncertain: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2C8.3 8.6 8 9 8 9.8M8 12.9v.1",
};

export function verdictBadge(verdict) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", MARKS[verdict] ?? MARKS.partial);
  svg.append(path);
  return element(
    "span",
    { className: `badge ${verdict in MARKS ? verdict : "partial"}` },
    svg,
    verdict,
  );
}

// A sentence in which the names of options (--mpp) do not break.
export function prose(text) {
  const parts = String(text).split(/(--[\w-]+)/);
  return element("p", {}, ...parts.map((part, i) => (i % 2 ? element("code", {}, part) : part)));
}

export const words = (name) => String(name).replaceAll("_", " ");

export const whole = (n) => Math.round(n).toLocaleString("en-US");

export const score = (n) => (n === null || n === undefined ? "" : n.toFixed(3));

export function length(um) {
  return um >= 1000 ? `${+(um / 1000).toPrecision(3)} mm` : `${+um.toPrecision(3)} µm`;
}

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

export function area(mm2) {
  if (mm2 > 0 && mm2 < 1e-4) return "< 0.0001 mm²";
  return `${mm2 < 1000 ? +mm2.toPrecision(3) : whole(mm2)} mm²`;
}

// The largest of 1, 2, 5 times a power of ten that is at most `longest`.
export function niceLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  return Math.max(
    ...[1, 2, 5].map((n) => n * power).filter((n) => n <= longest * (1 + 1e-9)),
    power,
  );
}

// The answer; an error with what the server says where it is none.
export async function fetchOk(url) {
  const answer = await fetch(url);
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `${answer.status} for ${url}`);
}

export const fetchJson = async (url) => (await fetchOk(url)).json();

export const slideUrl = (slideId) => `api/slides/${encodeURIComponent(slideId)}`;
