// Light or dark: the system's, until the switch says otherwise; remembered on this machine.

const KEY = "llm-workings-theme";
type Choice = "light" | "dark" | null;

class Theme {
  choice = $state<Choice>(null);
  private system = matchMedia("(prefers-color-scheme: dark)");
  private systemDark = $state(this.system.matches);

  constructor() {
    try {
      const kept = localStorage.getItem(KEY);
      if (kept === "light" || kept === "dark") this.choice = kept;
    } catch {
      // a browser that keeps nothing: the system's choice it is
    }
    this.system.addEventListener("change", () => (this.systemDark = this.system.matches));
    this.apply();
  }

  get dark(): boolean {
    return this.choice ? this.choice === "dark" : this.systemDark;
  }

  toggle(): void {
    const next = this.dark ? "light" : "dark";
    this.choice = next === (this.systemDark ? "dark" : "light") ? null : next;
    try {
      if (this.choice) localStorage.setItem(KEY, this.choice);
      else localStorage.removeItem(KEY);
    } catch {
      // as above
    }
    this.apply();
  }

  private apply(): void {
    if (this.choice) document.body.dataset.theme = this.choice;
    else delete document.body.dataset.theme;
  }
}

export const theme = new Theme();
