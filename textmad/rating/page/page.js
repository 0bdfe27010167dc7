"use strict";
// Everything works without this. It adds keys for the buttons, ignores double clicks, and sends an
// answer again until the server has it: a form's key counts once, however often it arrives.
(() => {
  const MOST_WAIT = 15000, RETRY = 3000, LOOK_AGAIN = 10000; // milliseconds
  const TOO_SOON = 300; // after a text has appeared, nobody has read it: the end of a double click
  let sending = false;
  let shownAt = performance.now();

  const main = () => document.querySelector("main");
  const say = (text) => {
    const notice = document.getElementById("notice");
    if (notice) { notice.textContent = text; notice.hidden = false; }
  };
  const pause = (milliseconds) => new Promise((done) => {
    setTimeout(done, milliseconds);
    window.addEventListener("online", done, { once: true });
  });
  const show = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    document.title = page.title;
    main().replaceWith(page.querySelector("main"));
    window.scrollTo(0, 0);
    (document.querySelector(".text") || document.querySelector("h1")).focus({ preventScroll: true });
    shownAt = performance.now();
  };
  const request = (path, options) => fetch(path, { ...options, signal: AbortSignal.timeout(MOST_WAIT) });

  const send = async (form, button) => {
    const body = new URLSearchParams(new FormData(form, button));
    for (;;) {
      try {
        const response = await request(form.action, { method: "POST", body });
        if (response.status !== 429) return show(await response.text());
        say("That was too fast. Your answer is sent in a moment.");
        await pause(1000 * response.headers.get("Retry-After"));
      } catch {
        say("The server cannot be reached. Keep this page open: your answer is sent as soon as it can be.");
        await pause(RETRY);
      }
    }
  };

  document.addEventListener("submit", async (event) => {
    if (!event.target.hasAttribute("action")) return; // an invitation is a page of its own
    event.preventDefault();
    if (sending || performance.now() - shownAt < TOO_SOON) return;
    sending = true;
    await send(event.target, event.submitter);
    sending = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["SELECT", "INPUT", "TEXTAREA"].includes(event.target.tagName)) return;
    const button = document.querySelector(`button[data-keys~="${CSS.escape(event.key)}"]:not(:disabled)`);
    if (button) { event.preventDefault(); button.form.requestSubmit(button); }
  });
  // A page that the back button brings back is out of date.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  // Whoever is done sees new texts as soon as there are some.
  setInterval(async () => {
    if (sending || document.hidden || !document.querySelector("[data-look-again]")) return;
    try {
      const html = await (await request("/")).text();
      if (!sending && html.includes('id="vote"')) show(html);
    } catch { /* The run computes, or the network is gone: look again later. */ }
  }, LOOK_AGAIN);
})();
