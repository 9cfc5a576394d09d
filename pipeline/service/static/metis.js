// What htmx leaves to be done.
"use strict";

// Only what is otherwise is put into a page: focus, selections and open details stay as they are, and screen
// readers tell nothing twice. Texts are compared as the browser itself would write them.
const shown = new WeakMap();

const written = (html) => {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.innerHTML.trim();
};

for (const each of document.querySelectorAll("[hx-get]")) {
  const name = each.getAttribute("hx-target");
  const target = name ? document.querySelector(name) : each;
  if (target) shown.set(target, target.innerHTML.trim());
}

// Milliseconds after which what came while somebody pressed is asked for again.
const PRESSED = 300;

// Whoever reads the end of a log goes on there, and whoever scrolled up stays.
const places = new Map();

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (!detail.shouldSwap) return;
  const { target, xhr, requestConfig: { elt } } = detail;
  const html = written(detail.serverResponse);
  const isSame = shown.get(target) === html;
  // A button that is replaced between press and release does nothing.
  const again = target.querySelector(":active") && elt.getAttribute("hx-trigger")?.match(/sse:\w+|every/)?.[0];
  // Without a swap htmx would not end polling (286), nor change the address.
  if ((isSame || again) && xhr.status === 200 && !elt.hasAttribute("hx-push-url")) {
    detail.shouldSwap = false;
    if (again) setTimeout(() => htmx.trigger(elt, again), PRESSED);
    return;
  }
  shown.set(target, html);
  places.clear();
  for (const log of target.querySelectorAll("pre[id]")) {
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 1;
    places.set(log.id, isAtEnd ? Infinity : log.scrollTop);
  }
});

document.addEventListener("htmx:afterSwap", () => {
  for (const [id, place] of places) {
    const log = document.getElementById(id);
    if (log) log.scrollTop = Math.min(place, log.scrollHeight);
  }
});

// What was chosen before the scripts were there, or the browser has kept from an earlier visit, is asked for too.
const isOtherwise = (field) => (field.options
  ? [...field.options].some((each) => each.selected !== each.defaultSelected)
  : field.value !== field.defaultValue);

window.addEventListener("load", () => {
  for (const form of document.querySelectorAll("form[hx-get]")) {
    if ([...form.querySelectorAll("input, select")].some(isOtherwise)) form.requestSubmit();
  }
});

// Say that nothing is heard of the service, if that lasts: a restart takes less.
const PATIENCE = 5000;
let waiting;

document.addEventListener("htmx:sseError", () => {
  waiting ??= setTimeout(() => { document.getElementById("lost").hidden = false; }, PATIENCE);
});

document.addEventListener("htmx:sseOpen", () => {
  clearTimeout(waiting);
  waiting = undefined;
  document.getElementById("lost").hidden = true;
});
