// Elements with text. Whatever comes from outside is set as text, never as markup.

export function tag(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// A state: a mark, whose form tells as much as its colour, and the word.
export function mark(kind, word, ...more) {
  const sign = tag("span", "sign");
  sign.setAttribute("aria-hidden", "true");
  return tag("span", `mark ${kind}`, sign, tag("span", "", word), ...more);
}

// Only what is new, so that a selection stays and nothing is read aloud again.
export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
