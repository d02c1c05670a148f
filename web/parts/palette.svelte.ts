// The colours of the theme, read from the custom properties, for what is drawn on a canvas.

export interface Palette {
  dark: boolean;
  paper: string;
  deep: string;
  ink: string;
  soft: string;
  line: string;
  accent: string;
  query: string;
  key: string;
  wrong: string;
  positive: string;
  negative: string;
  high: string;
  strong: string;
  mono: string;
  sans: string;
  categories: string[];
  ramp: Uint8ClampedArray; // 256 colours, three bytes each
}

/** The palette at an element; without one, that of the page. */
export function readPalette(element: Element = document.querySelector(".llmw") ?? document.body): Palette {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(name).trim();
  const stops = Array.from({ length: 9 }, (_, i) => channels(of(`--ramp-${i}`)));
  const ramp = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * 8;
    const low = stops[Math.floor(at)]!;
    const high = stops[Math.ceil(at)]!;
    for (let c = 0; c < 3; c++) ramp[i * 3 + c] = Math.round(low[c]! + (high[c]! - low[c]!) * (at % 1));
  }
  return {
    dark: style.colorScheme === "dark",
    paper: of("--paper"), deep: of("--paper-deep"), ink: of("--ink"), soft: of("--ink-soft"),
    line: of("--line"), accent: of("--accent"), query: of("--query"), key: of("--key"),
    wrong: of("--wrong"), positive: of("--positive"), negative: of("--negative"), high: of("--paper-high"),
    strong: of("--line-strong"), mono: of("--mono"), sans: of("--sans"),
    categories: Array.from({ length: 8 }, (_, i) => of(`--category-${i + 1}`)), ramp,
  };
}

/** `#rrggbb`, or the `#rgb` that a minifier makes of it. */
export function channels(hex: string): number[] {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join("") : hex.slice(1);
  const value = parseInt(digits, 16) || 0;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Where on the ramp a share between 0 and 1 stands: its square root, so that small weights show. */
export function level(share: number): number {
  return Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, share))));
}

export function colour(palette: Palette, step: number): string {
  const { ramp } = palette;
  return `rgb(${ramp[step * 3]} ${ramp[step * 3 + 1]} ${ramp[step * 3 + 2]})`;
}

/** Black or white, whichever stands out more on a step of the ramp (at least 4.5 : 1). */
export function inkOn(palette: Palette, step: number): string {
  const [r, g, b] = palette.ramp.subarray(step * 3, step * 3 + 3);
  return inkOver(r!, g!, b!);
}

/** Black or white on any colour, channels 0 to 255. */
export function inkOver(...channels: [number, number, number]): string {
  const linear = channels.map((channel) => {
    const s = channel / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
  return luminance > 0.179 ? "#000000" : "#ffffff";
}

/** The palette at an element, read again when the theme changes. */
export class ThemePalette {
  current = $state.raw<Palette | null>(null);

  watch(element: Element): () => void {
    const update = () => (this.current = readPalette(element));
    update();
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", update);
    const observer = new MutationObserver(update);
    const root = element.closest(".llmw");
    if (root) observer.observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      media.removeEventListener("change", update);
      observer.disconnect();
    };
  }
}
