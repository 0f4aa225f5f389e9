// Keeps the list fresh: the server says that something changed, we fetch the list and put it in place, keeping the
// reader's scroll position and open threads. A lost connection is shown and mends itself (EventSource reconnects).
"use strict";
const list = document.getElementById("messages");
const live = document.getElementById("live");
const newest = document.getElementById("newest");
let busy = false;
let again = false;

const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 80;
const toEnd = () => { list.scrollTop = list.scrollHeight; newest.hidden = true; };
const say = (state, words) => { live.dataset.state = state; live.textContent = words; };

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(`/c/${encodeURIComponent(list.dataset.channel)}/messages`);
    if (!answer.ok) throw new Error(String(answer.status));
    replace(await answer.text());
    say("on", "live");
  } catch {
    say("off", "not reachable; trying again");
  } finally {
    busy = false;
    if (again) { again = false; refresh(); }
  }
}

function replace(html) {
  const open = new Map([...list.querySelectorAll("details[data-key]")].map((node) => [node.dataset.key, node.open]));
  const seen = new Map([...list.querySelectorAll("article[id]")].map((node) => [node.id, node.dataset.changed]));
  const wasAtEnd = atEnd();
  const top = list.scrollTop;
  list.innerHTML = html; // made and escaped by the server, under a policy that runs no inline script
  for (const node of list.querySelectorAll("details[data-key]")) {
    if (open.has(node.dataset.key)) node.open = open.get(node.dataset.key);
  }
  let added = false;
  for (const node of list.querySelectorAll("article[id]")) {
    if (seen.get(node.id) === node.dataset.changed) continue;
    node.classList.add("changed");
    added = added || !seen.has(node.id);
  }
  if (wasAtEnd) toEnd();
  else { list.scrollTop = top; newest.hidden = newest.hidden && !added; }
}

newest.addEventListener("click", toEnd);
list.addEventListener("scroll", () => { if (atEnd()) newest.hidden = true; });
const events = new EventSource("/events");
events.onmessage = refresh;
events.onerror = () => say("off", "not reachable; trying again");
if (!location.hash) toEnd();
