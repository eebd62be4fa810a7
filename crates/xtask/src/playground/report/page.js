"use strict";
const tip = document.getElementById("tip");
function show(event) {
  const target = event.target.closest("[data-tip]");
  tip.hidden = !target;
  if (!target) return;
  tip.textContent = target.dataset.tip;
  const { width, height } = tip.getBoundingClientRect();
  const x = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 4);
  const y = event.clientY - height - 10;
  tip.style.left = Math.max(4, x) + "px";
  tip.style.top = (y > 4 ? y : event.clientY + 16) + "px";
}
document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
for (const button of document.querySelectorAll(".query button")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    let copied = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      copied = true;
    } catch {
      // Without access to the clipboard, the text is selected for the reader to copy.
      getSelection().selectAllChildren(code);
    }
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
