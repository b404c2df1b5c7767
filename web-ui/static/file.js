// A document may be chosen instead of pasted: its text comes into the field. Without this script one can only paste.
(() => {
  // A letter more than the daemon takes (MAX_IMPORT), so that what is too long is told as too long.
  const most = 128 * 1024 + 1;
  for (const choice of document.querySelectorAll("input[type=file][data-into]")) {
    const into = document.getElementById(choice.dataset.into);
    choice.closest("[hidden]").hidden = false;
    choice.addEventListener("change", async () => {
      if (!choice.files.length) return;
      into.value = await choice.files[0].slice(0, most).text();
      into.scrollTop = 0;
    });
  }
})();
