// A document may be chosen instead of pasted: its text comes into the field. Without this script one can only paste.
(() => {
  // What the daemon takes (MAX_IMPORT). Nothing is cut: a part of a document could be a whole one.
  const most = 128 * 1024;
  for (const choice of document.querySelectorAll("input[type=file][data-into]")) {
    const into = document.getElementById(choice.dataset.into);
    const refuse = (why) => {
      choice.setCustomValidity(why);
      choice.reportValidity();
    };
    choice.closest("[hidden]").hidden = false;
    // Who pastes after all is not held up by a file that was refused.
    into.addEventListener("input", () => choice.setCustomValidity(""));
    choice.addEventListener("change", async () => {
      const file = choice.files[0];
      choice.setCustomValidity("");
      if (!file) return;
      if (file.size > most) return refuse("This file is too long: 128 KiB at most. Nothing of it was taken.");
      try {
        into.value = await file.text();
        into.scrollTop = 0;
      } catch {
        refuse("This file cannot be read.");
      }
    });
  }
})();
