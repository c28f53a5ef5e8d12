// Titles, ids and names come from a log: they reach the page as text nodes alone.

const MOST = 10; // recommendations of a model
const FOUND = 20; // titles that a search shows
const CARRIERS = 3; // that an item is "because of" at a glance
const FOR_USERS = "Made beforehand for users of the log: there is no list for titles that are picked here.";
const PAUSE = 150; // milliseconds without a key, after which is asked

const at = (id) => document.getElementById(id);
const search = at("search");
const picked = new Map(); // raw id -> title, oldest first
const titles = new Map(); // version of a model -> raw id -> title: a model beside may know another catalogue
let key = ""; // of the service, in memory alone
let models = []; // as /models tells them, lists that were made beforehand among them
let question = new AbortController(); // the one whose answers are on their way

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function named(id, title) {
  return element("bdi", {}, title || id); // whichever way it is written, its neighbours keep their places
}

function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function times(count) {
  return count === 1 ? "taken once" : `taken ${number(count)} times`;
}

// --- the service

class Refused extends Error {
  constructor(status, told) {
    const said = told.trim();
    super(said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : "."));
    this.status = status;
  }
}

/** Returns what the service tells; throws Refused with its sentence, or AbortError. Addresses are relative. */
async function told(address, signal, body) {
  const headers = { Accept: "application/json" };
  if (key) headers["X-API-Key"] = String.fromCharCode(...new TextEncoder().encode(key)); // a header's bytes
  if (body) headers["Content-Type"] = "application/json";
  const sent = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let answer, text;
  try {
    answer = await fetch(address, { ...sent, headers, signal });
    text = await answer.text();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refused(0, "The service does not answer.");
  }
  let read = null;
  try {
    read = JSON.parse(text);
  } catch {} // of a proxy, perhaps: told below
  if (answer.ok && read) return read;
  if (answer.status === 401) askForKey();
  const unreadable = `The service's answer (${answer.status}) cannot be read.`;
  throw new Refused(answer.status, typeof read?.detail === "string" ? read.detail : unreadable);
}

function askForKey() {
  at("key-note").textContent = key
    ? "The service does not take this key."
    : "The service asks for one. It is kept until this page is closed, and only here.";
  at("main").hidden = true;
  at("key-form").hidden = false;
  at("key").focus();
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value;
  start();
});

// --- the search

const options = () => [...at("found").children];
const chosen = () => options().find((option) => option.getAttribute("aria-selected") === "true");
let searching = new AbortController();
let searchSoon; // a timer

function choose(option) {
  for (const each of options()) each.setAttribute("aria-selected", String(each === option));
  if (option) {
    search.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else {
    search.removeAttribute("aria-activedescendant");
  }
}

function show(open) {
  if (!open) {
    clearTimeout(searchSoon);
    searching.abort();
    choose(null);
  }
  at("popup").hidden = !open;
  search.setAttribute("aria-expanded", String(open));
}

function optionOf(item, place) {
  const told = [item.title ? `id ${item.item}` : "", times(item.count), picked.has(item.item) ? "picked" : ""];
  const option = element("li", { role: "option", id: `option-${place}`, "aria-selected": "false" });
  option.append(named(item.item, item.title), " ", element("small", {}, told.filter(Boolean).join(" · ")));
  option.addEventListener("click", () => pick(item.item, item.title));
  return option;
}

async function find() {
  searching.abort();
  searching = new AbortController();
  const query = search.value.trim();
  try {
    const found = await told(`items?${new URLSearchParams({ query, limit: FOUND })}`, searching.signal);
    at("search-trouble").textContent = "";
    at("found").replaceChildren(...found.items.map(optionOf));
    const shown = found.total > found.items.length ? `, the ${found.items.length} most taken are shown` : "";
    const what = found.total === 1 ? "1 title" : `${number(found.total)} titles`;
    at("found-note").textContent = found.total ? `${what}${shown}` : "No title and no id holds this.";
    at("heard").textContent = at("found-note").textContent;
    show(true);
    at("found").scrollTop = 0;
    choose(at("found").firstElementChild);
  } catch (error) {
    if (error.name === "AbortError") return;
    show(false);
    at("search-trouble").textContent = error.message;
  }
}

search.addEventListener("input", () => {
  choose(null); // what is still shown is the answer to less
  clearTimeout(searchSoon);
  searchSoon = setTimeout(find, PAUSE);
});
search.addEventListener("click", () => at("popup").hidden && find());
search.addEventListener("blur", () => show(false));
at("popup").addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the box
search.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const open = !at("popup").hidden;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const all = options();
    if (!open) find();
    else if (all.length) choose(all.at((all.indexOf(chosen()) + (event.key === "ArrowDown" ? 1 : -1)) % all.length));
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (open) chosen()?.click();
  } else if (event.key === "Escape" && open) {
    event.preventDefault();
    show(false);
  }
});

// --- the history

function pick(id, title) {
  picked.delete(id); // what is taken again is the newest
  picked.set(id, title);
  search.value = "";
  show(false);
  drawPicked();
  ask();
}

function drawPicked() {
  const drawn = [...picked].map(([id, title]) => {
    const remove = element("button", { type: "button", "aria-label": `Remove ${title || id}` }, "×");
    remove.addEventListener("click", () => {
      const place = [...picked.keys()].indexOf(id);
      picked.delete(id);
      drawPicked();
      (at("picked").querySelectorAll("button")[Math.min(place, picked.size - 1)] ?? search).focus();
      ask();
    });
    const beside = title ? [" ", element("small", {}, id)] : [];
    return element("li", {}, element("span", {}, named(id, title), ...beside), remove);
  });
  at("picked").replaceChildren(...drawn);
  at("nothing-picked").hidden = picked.size > 0;
}

let askSoon; // a timer
const way = () => document.querySelector("input[name=way]:checked").value;

function showWay() {
  at("by-titles").hidden = way() !== "titles";
  at("by-user").hidden = way() !== "user";
  ask();
}

for (const radio of document.querySelectorAll("input[name=way]")) radio.addEventListener("change", showWay);
at("user").addEventListener("input", () => {
  clearTimeout(askSoon);
  askSoon = setTimeout(ask, PAUSE);
});
at("history-form").addEventListener("submit", (event) => event.preventDefault());

// --- the answers

/** Returns whose recommendations are wanted, in the words of /recommend; null: nobody's yet. */
function wanted() {
  const user = at("user").value.trim();
  if (way() === "user") return user ? { user } : null;
  return picked.size ? { history: [...picked.keys()] } : null;
}

async function ask() {
  clearTimeout(askSoon);
  question.abort();
  question = new AbortController();
  const { signal } = question;
  const who = wanted();
  at("hint").hidden = who !== null;
  const missing = way() === "user" ? "Type a user id" : "Pick a title";
  at("hint").textContent = `${missing}: what each model recommends is shown here.`;
  const columns = [...at("models").children];
  for (const column of columns) {
    column.setAttribute("aria-busy", String(who !== null));
    if (!who) column.querySelector(".answer").replaceChildren();
  }
  if (!who) return;
  const heard = [];
  for (const [place, { model, precomputed }] of models.entries()) { // one after the other: each latency is its own
    let shown, sentence;
    try {
      if (precomputed && who.user === undefined) throw new Refused(0, FOR_USERS);
      const start = performance.now();
      const answer = await told("recommend", signal, { ...who, model, k: MOST, because: !precomputed });
      const milliseconds = performance.now() - start;
      shown = drawn(answer, milliseconds, who, await titlesOf(answer, signal));
      sentence = `${answer.items.length} titles${answer.by === "popularity" ? " by popularity" : ""}.`;
    } catch (error) {
      if (!(error instanceof Refused) && error.name !== "AbortError") throw error;
      if (error.status === 404 && (await haveModelsChanged())) return ask();
      if (signal.aborted || error.status === 401) return;
      shown = [element("p", { class: "missing" }, error.message)];
      sentence = error.message;
    }
    if (signal.aborted) return;
    columns[place].querySelector(".answer").replaceChildren(...shown);
    columns[place].setAttribute("aria-busy", "false");
    heard.push(`${model}: ${sentence}`);
  }
  at("heard").textContent = heard.join(" ");
}

/** Returns titles of what carries an answer: as a history whose own items alone are ranked, they come with titles. */
async function titlesOf(answer, signal) {
  const known = titles.get(answer.version) ?? new Map();
  titles.set(answer.version, known);
  const carriers = new Set(answer.items.flatMap((each) => each.because ?? []));
  const history = [...carriers].filter((id) => !known.has(id));
  if (!history.length) return known;
  const body = { model: answer.model, history, items: history, filter_seen: false, k: history.length };
  try {
    const found = await told("recommend", signal, body);
    for (const each of found.items) known.set(each.item, each.title);
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // else the answer is shown with ids in their place
  }
  return known;
}

function drawn(answer, milliseconds, who, known) {
  const shown = [element("p", { class: "latency" }, `Answered in ${number(milliseconds, 1)} ms`)];
  if (answer.by === "popularity") {
    const what = who.user === undefined ? "these titles" : `a user “${who.user}”`;
    const why = `By popularity: the model knows nothing of ${what}. These are the items that were taken most.`;
    shown.push(element("p", { class: "missing" }, why));
  }
  if (answer.by === "precomputed") {
    shown.push(element("p", { class: "note" }, "Looked up: made beforehand, from what was known then."));
  }
  if (!answer.items.length) shown.push(element("p", { class: "note" }, "Nothing is left to recommend."));
  const items = answer.items.map((each) => {
    const score = answer.by === "popularity" ? times(each.score) : `score ${number(each.score, 2)}`;
    const beside = element("small", {}, each.title ? `id ${each.item} · ${score}` : score);
    const name = element("strong", {}, named(each.item, each.title));
    return element("li", {}, name, beside, ...because(each.because, known));
  });
  return [...shown, element("ol", { role: "list" }, ...items)];
}

function because(carriers, known) {
  if (!carriers) return [];
  if (!carriers.length) return [element("span", { class: "why" }, "because of no single title")];
  const listed = (some) => some.flatMap((id, place) => [place ? ", " : "", named(id, known.get(id))]);
  if (carriers.length <= CARRIERS + 1) return [element("span", { class: "why" }, "because of ", ...listed(carriers))];
  const [first, rest] = [carriers.slice(0, CARRIERS), carriers.slice(CARRIERS)];
  const summary = element("summary", {}, "because of ", ...listed(first), ` and ${rest.length} more`);
  return [element("details", { class: "why" }, summary, "then ", ...listed(rest))];
}

// --- the models

function drawModels(known) {
  models = known;
  const columns = models.map((each, place) => {
    const name = element("h3", { id: `model-${place}` }, element("bdi", {}, each.model));
    const distilled = each.distilled ? "distilled from a teacher" : "not distilled";
    const what = each.precomputed
      ? `precomputed for ${number(each.users)} ${each.users === 1 ? "user" : "users"}`
      : `${distilled} · ${number(each.items)} items`;
    const facts = `${what} · version ${each.version}`;
    const answer = element("div", { class: "answer" }); // filled by ask()
    const below = [element("p", { class: "note" }, facts), answer];
    return element("section", { class: "model", "aria-labelledby": name.id }, name, ...below);
  });
  at("models").replaceChildren(...columns);
}

/** Reads the models again: the service takes over newer ones while it runs. */
async function haveModelsChanged() {
  const now = await told("models").catch(() => ({ models })); // what was refused before is told
  if (JSON.stringify(now.models) === JSON.stringify(models)) return false;
  drawModels(now.models);
  return true;
}

async function start() {
  try {
    drawModels((await told("models")).models);
  } catch (error) {
    if (error.status !== 401) at("trouble").textContent = error.message;
    return;
  }
  const asked = !at("key-form").hidden;
  at("trouble").textContent = "";
  at("key-form").hidden = true;
  at("main").hidden = false;
  if (asked) search.focus();
  drawPicked();
  showWay();
}

start();
