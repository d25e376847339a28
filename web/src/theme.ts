// Light or dark: as the system says, until the person chooses.

const key = "skein.theme";

/** theme applies the remembered choice and lets the button change it. */
export function theme(button: HTMLButtonElement): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const current = (): string => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const label = (): void => button.setAttribute("aria-label", `Switch to ${current() === "dark" ? "light" : "dark"} colours`);
  const stored = read();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    write(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();
}

function read(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // The choice then holds until the next reload.
  }
}
