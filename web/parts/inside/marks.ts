// One mark a class: colour and shape both tell it, and of more than eight classes the two together.

const SHAPES: ((r: number) => string)[] = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0,${-1.25 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
  (r) => `M0,${-1.4 * r}L${1.4 * r},0L0,${1.4 * r}L${-1.4 * r},0Z`,
  (r) => `M${-0.4 * r},${-1.3 * r}H${0.4 * r}V${-0.4 * r}H${1.3 * r}V${0.4 * r}H${0.4 * r}V${1.3 * r}H${-0.4 * r}V${0.4 * r}H${-1.3 * r}V${-0.4 * r}H${-0.4 * r}Z`,
  (r) => `M0,${1.25 * r}L${1.2 * r},${-r}H${-1.2 * r}Z`,
  (r) => `M${-1.3 * r},${-0.55 * r}H${1.3 * r}V${0.55 * r}H${-1.3 * r}Z`,
  (r) => `M${-0.55 * r},${-1.3 * r}H${0.55 * r}V${1.3 * r}H${-0.55 * r}Z`,
];

/** The outline of a class's mark around the origin, as an SVG path. */
export const markOf = (index: number, r: number): string => SHAPES[(index + Math.floor(index / 8) * 3) % 8]!(r);

/** Which of the eight colours a class has. */
export const hueOf = (index: number): number => index % 8;
