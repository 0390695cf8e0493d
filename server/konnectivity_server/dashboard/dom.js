// Elements with text. Data are set as text, never as markup.

export function tag(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// A state: a word, and a mark whose shape and colour both show the kind of state.
export function mark(kind, word, ...more) {
  const sign = tag("span", "sign");
  sign.setAttribute("aria-hidden", "true");
  return tag("span", `mark ${kind}`, sign, tag("span", "", word), ...more);
}

// Sets a text only if it changed, so that a selection stays and a screen reader does not repeat it.
export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
