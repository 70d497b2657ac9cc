// Files dropped anywhere on the page go to viser's own upload button, one after another.
if (!window.lmmDrop) {
  window.lmmDrop = true;
  const carries = (event) => event.dataTransfer && event.dataTransfer.types.includes("Files");
  const shade = (on) => { document.body.style.outline = on ? "4px dashed #0072b2" : ""; document.body.style.outlineOffset = "-8px"; };
  window.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    shade(true);
  });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) shade(false); });
  window.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    shade(false);
    const input = document.querySelector("input[id^=file_upload_]");
    for (const file of input ? event.dataTransfer.files : []) {
      const one = new DataTransfer();
      one.items.add(file);
      input.files = one.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
}
