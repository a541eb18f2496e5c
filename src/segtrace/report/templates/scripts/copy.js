// --- texts to copy: the button puts the text on the clipboard, or selects it where that is refused ----------

function select(place) {
  const range = document.createRange();
  range.selectNodeContents(place);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(button) {
  const place = document.getElementById(button.dataset.copies);
  const told = button.parentElement.querySelector(".told");
  select(place);
  try {
    await navigator.clipboard.writeText(place.textContent);
    told.textContent = "Copied.";
  } catch {
    // A page opened from disk may have no clipboard of its own.
    told.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with the keyboard.";
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
