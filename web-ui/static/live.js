// Live values of one page: cells change in place, and nothing moves under a hand or a focus. Without this script there is Refresh.
(() => {
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");
  if (!live || !window.EventSource) return;
  const names = (root) => [...root.querySelectorAll("[data-session]")].map((row) => row.dataset.session);
  const show = (event) => {
    const fresh = new DOMParser().parseFromString(event.data, "text/html").body;
    const same = names(live).join("\n") === names(fresh).join("\n") && names(fresh).length > 0;
    if (!same && !live.contains(document.activeElement)) {
      live.replaceChildren(...fresh.childNodes);
      stale.hidden = true;
      return;
    }
    stale.hidden = same;
    const rows = new Map([...fresh.querySelectorAll("[data-session]")].map((row) => [row.dataset.session, row]));
    for (const row of live.querySelectorAll("[data-session]")) {
      const now = rows.get(row.dataset.session);
      if (!now) continue;
      const cells = now.querySelectorAll("[data-live]");
      row.querySelectorAll("[data-live]").forEach((cell, at) => {
        if (cell.innerHTML !== cells[at].innerHTML) cell.replaceChildren(...cells[at].childNodes);
      });
    }
  };
  let stream = null;
  const watch = () => {
    stream = new EventSource(live.dataset.stream);
    // Closed for good: logged out, or too many pages watch. What stands there is old then.
    stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) stale.hidden = false; };
    stream.onmessage = show;
  };
  // A tab that nobody sees gives its place back: a browser has six connections to one host, the daemon eight watchers.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) watch(); else stream?.close();
  });
  if (!document.hidden) watch();
})();
