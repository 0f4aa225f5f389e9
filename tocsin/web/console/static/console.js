// What htmx leaves to the page: saying that it is out of date, where the focus goes, a file into a text field.
// Every page works without this file and without htmx.
"use strict";
(() => {
  const isLive = (event) => event.detail.elt.id === "live";
  let answered = new Date();

  const tell = (text) => {
    const box = document.getElementById("trouble");
    if (box.textContent !== text) box.textContent = text;
    box.hidden = text === "";
  };

  const isPage = (xhr) => (xhr.getResponseHeader("content-type") || "").startsWith("text/html");
  const why = (xhr) => {
    try {
      return JSON.parse(xhr.responseText).detail || "";
    } catch {
      return "";
    }
  };

  // A refresh is worth nothing where nobody looks, and must not take away what somebody is marking to copy.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isLive(event) && (document.hidden || document.getSelection().type === "Range")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && document.getElementById("live")) htmx.trigger(document.body, "look");
  });

  // A problem is no page: there is nothing in it to swap in.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isPage(event.detail.xhr)) event.detail.shouldSwap = false;
  });

  // Old news that looks fresh is the worst that a page like this can show.
  document.addEventListener("htmx:afterRequest", (event) => {
    const { xhr, successful } = event.detail;
    if (successful) {
      answered = new Date();
      tell("");
    } else if (xhr.status === 0 || isLive(event)) {
      const since = answered.toISOString().slice(11, 19);
      tell(`The daemon does not answer: what you see is of ${since} UTC. ${why(xhr)}`.trim());
    } else if (!isPage(xhr) || ![409, 422].includes(xhr.status)) {
      tell(why(xhr) || `That did not work: the daemon answered ${xhr.status}.`);
    }
  });

  // What was swapped in is where the reader goes on: the first wrong field, what went wrong, or the heading.
  document.addEventListener("htmx:afterSettle", (event) => {
    const target = document.getElementById(event.detail.target.id);
    if (!target || !["main", "panel"].includes(target.id)) return;
    const next = target.querySelector("[aria-invalid=true]") || target.querySelector(".error") || target.querySelector("h1, h2");
    if (next && !next.matches("input, select, textarea")) next.tabIndex = -1;
    if (target.id === "panel") target.scrollIntoView({ block: "nearest" });
    if (next) next.focus({ preventScroll: next.matches("h1, h2") });
  });

  document.addEventListener("change", async (event) => {
    const into = event.target.dataset.into;
    if (into && event.target.files.length) {
      document.getElementById(into).value = await event.target.files[0].text();
    }
  });
  const show = () => document.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });
  document.addEventListener("htmx:load", show);
})();
