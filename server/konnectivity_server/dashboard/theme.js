// Light and dark: the choice of a person, kept by the browser, or else that of the system.

const darkOutside = matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");

function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  const dark = (document.documentElement.dataset.theme ?? (darkOutside.matches ? "dark" : "light")) === "dark";
  button.textContent = dark ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
  return dark;
}

function remembered() {
  try {
    return localStorage.getItem("konnectivity-theme");
  } catch {
    return null; // the browser stores nothing
  }
}

function switchTheme() {
  const chosen = theme() ? "light" : "dark";
  theme(chosen);
  try {
    localStorage.setItem("konnectivity-theme", chosen);
  } catch {
    // the browser stores nothing
  }
}

export function useTheme() {
  theme(remembered());
  darkOutside.addEventListener("change", () => theme());
  button.addEventListener("click", switchTheme);
}
