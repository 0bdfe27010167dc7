"use strict";
// Everything works without this: keys for the buttons, one vote a page, and patience while offline.
(() => {
  const notice = document.getElementById("notice");
  let sent = false;
  let waiting = null;
  const say = (text) => { if (notice) { notice.textContent = text; notice.hidden = false; } };
  document.addEventListener("submit", (event) => {
    if (sent) { event.preventDefault(); return; }
    if (!navigator.onLine) {
      event.preventDefault();
      waiting = [event.target, event.submitter];
      say("You are offline. Your answer is kept on this page and sent when you are back.");
      return;
    }
    sent = true;
  });
  window.addEventListener("online", () => {
    if (waiting) { const [form, button] = waiting; waiting = null; form.requestSubmit(button); }
  });
  // A page that the back button brings back is out of date.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["SELECT", "INPUT", "TEXTAREA"].includes(event.target.tagName)) return;
    const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]:not(:disabled)`);
    if (button) { event.preventDefault(); button.form.requestSubmit(button); }
  });
})();
