// The theme menu: the same cookie as the server's POST /theme/, without loading the page again.

const COOKIE_AGE_S = 400 * 86400;

/** @param {string} theme */
function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${theme}; Path=/; Max-Age=${COOKIE_AGE_S}; SameSite=Lax${secure}`;
  for (const button of document.querySelectorAll("[data-theme-form] button")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("value") === theme));
  }
}

export function watchTheme() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-theme-form]")) return;
    const theme = event.submitter?.getAttribute("value");
    if (!theme) return;
    event.preventDefault();
    applyTheme(theme);
    form.closest("details")?.removeAttribute("open");
  });
}
