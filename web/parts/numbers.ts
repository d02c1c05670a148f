// Numbers as they are shown: three significant digits. The exact value is a hover or a pin away.

/** Three significant digits, in plain notation where that is short. */
export function three(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-4 ? scientific(value) : value.toPrecision(3);
  return (text.includes("e") ? scientific(value) : text).replace("-", "−");
}

function scientific(value: number, digits = 2): string {
  const [mantissa, exponent] = value.toExponential(digits).split("e") as [string, string];
  const raised = [...String(Number(exponent))].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)] ?? "⁻");
  return `${mantissa}×10${raised.join("")}`;
}

/** With its sign, so that colour is never the only cue. */
export function signed(value: number): string {
  return value > 0 ? `+${three(value)}` : three(value);
}

/** A float32 with the digits that tell it from its neighbours. */
export function exact(value: number): string {
  if (!Number.isFinite(value)) return three(value);
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) !== Math.fround(value)) continue;
    const size = Math.abs(value);
    const plain = value === 0 || (size >= 1e-4 && size < 1e6);
    return (plain ? String(Number(text)) : scientific(value, digits - 1)).replace("-", "−");
  }
  return String(value).replace("-", "−");
}

/** 134515008 -> "135 M". */
export function count(value: number): string {
  const [unit, size] = value >= 1e9 ? [" B", 1e9] : value >= 1e6 ? [" M", 1e6] : value >= 1e4 ? [" k", 1e3] : ["", 1];
  const scaled = value / size;
  return (scaled >= 100 || size === 1 ? Math.round(scaled).toLocaleString("en") : scaled.toPrecision(2)) + unit;
}

/** Bytes in decimal units, as download pages give them. */
export function bytes(value: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  while (value >= 1000 && unit < 3) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
