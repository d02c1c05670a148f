// Where units, biases and edges of the network diagram lie, and what lies under a pointer.

export interface Node {
  layer: number;
  unit: number;
  x: number; // of its middle
  y: number;
  size: number; // of its side
}

export interface Column {
  layer: number;
  x: number;
  left: number;
  right: number;
  bottom: number;
  across: number; // units side by side: 1 but for a large layer
  size: number;
  pitch: number; // from one unit to the one below
}

export interface Layout {
  width: number;
  height: number;
  columns: Column[];
  units: Node[][];
  biases: Node[]; // one a layer that others read
}

export interface Edge {
  place: string;
  layer: number;
  from: number; // -1: the bias
  to: number;
}

const HEAD = 30; // the columns' names
const FOOT = 46; // the biases
const NAMES = 26; // the outputs' classes, right of them
const LARGEST = 72;
export const BIAS = 20; // the side of a bias's node

/** Lays a network out in `whole` by `height` pixels: inputs left, outputs right. A large layer stands in
    several rows of small units; `image` inputs (their side) stand as the picture that they are. */
export function layOut(layers: number[], whole: number, height: number, image = 0): Layout {
  const width = whole - (layers.at(-1)! > 1 ? NAMES : 0);
  const room = height - HEAD - FOOT;
  const n = layers.length;
  const between = Math.max(14, Math.min(140, width / (n * 2.2)));
  const widest = Math.max(14, (width - 16 - between * (n - 1)) / n);
  const sizes = layers.map((units, layer) => {
    if (layer === 0 && image && image * image === units) return { across: image, size: Math.floor(Math.min(14, widest / image, room / image)), gap: 0 };
    let best = { across: 1, size: 0, gap: 0 };
    for (let across = 1; across <= units; across++) {
      const down = Math.ceil(units / across);
      const cell = Math.min(widest / across, room / down);
      const gap = across === 1 && down <= 10 ? Math.min(16, cell * 0.24) : Math.max(1, Math.min(5, cell * 0.12));
      const size = Math.min(LARGEST, cell - gap);
      if (size > best.size + 0.5) best = { across, size, gap };
      if (best.size >= 26 && across === 1) break; // one column where that can be read
    }
    return best;
  });
  const widths = sizes.map(({ across, size, gap }) => across * size + (across - 1) * gap);
  const free = width - 16 - widths.reduce((a, b) => a + b, 0);
  const space = n > 1 ? Math.max(12, free / (n - 1)) : 0;
  const columns: Column[] = [];
  const units: Node[][] = [];
  let left = 8;
  layers.forEach((count, layer) => {
    const { across, size, gap } = sizes[layer]!;
    const wide = widths[layer]!;
    const down = Math.ceil(count / across);
    const pitch = across === 1 ? Math.min(room / down, Math.max(size + gap, size + 34)) : size + gap;
    const top = HEAD + (room - (down - 1) * pitch) / 2;
    const x = left + wide / 2;
    units.push(
      Array.from({ length: count }, (_, unit) => ({
        layer, unit, size,
        x: left + size / 2 + (unit % across) * (size + gap),
        y: top + Math.floor(unit / across) * pitch,
      })),
    );
    columns.push({ layer, x, left, right: left + wide, bottom: top + (down - 1) * pitch + size / 2, across, size, pitch });
    left += wide + space;
  });
  const biases = columns.slice(0, -1).map(({ layer, x, bottom }) => ({
    layer, unit: -1, x, y: Math.min(height - BIAS / 2 - 6, Math.max(bottom + 30, HEAD + room * 0.8)), size: BIAS,
  }));
  return { width: whole, height, columns, units, biases };
}

/** The edges into layer `layer`, each unit's bias first. */
export function edgesInto(layers: number[], layer: number): Edge[] {
  const edges: Edge[] = [];
  for (let to = 0; to < layers[layer]!; to++) {
    edges.push({ place: `b${layer}.${to}`, layer, from: -1, to });
    for (let from = 0; from < layers[layer - 1]!; from++) edges.push({ place: `w${layer}.${from}.${to}`, layer, from, to });
  }
  return edges;
}

/** An edge as a cubic curve: its ends, and how far its two handles reach. */
export function curve(layout: Layout, edge: Edge): { x0: number; y0: number; x1: number; y1: number; reach: number } {
  const source = edge.from < 0 ? layout.biases[edge.layer - 1]! : layout.units[edge.layer - 1]![edge.from]!;
  const target = layout.units[edge.layer]![edge.to]!;
  const x0 = source.x + source.size / 2;
  const x1 = target.x - target.size / 2;
  return { x0, y0: source.y, x1, y1: target.y, reach: Math.max(4, (x1 - x0) * 0.42) };
}

/** The point of the way `t` (0 to 1) along an edge. */
export function along(layout: Layout, edge: Edge, t: number): { x: number; y: number } {
  const { x0, y0, x1, y1, reach } = curve(layout, edge);
  const s = 1 - t;
  const [a, b, c, d] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return { x: a * x0 + b * (x0 + reach) + c * (x1 - reach) + d * x1, y: (a + b) * y0 + (c + d) * y1 };
}

/** The place under a point: a unit, else the nearest of `edges` within `reach` pixels. */
export function placeAt(layout: Layout, edges: Edge[], x: number, y: number, reach = 7): string | null {
  for (const column of layout.units) {
    for (const node of column) {
      if (Math.abs(x - node.x) <= node.size / 2 + 1 && Math.abs(y - node.y) <= node.size / 2 + 1) return `u${node.layer}.${node.unit}`;
    }
  }
  let best: string | null = null;
  let nearest = reach;
  for (const edge of edges) {
    const { x0, y0, x1, y1 } = curve(layout, edge);
    if (x < x0 - 2 || x > x1 + 2 || y < Math.min(y0, y1) - reach || y > Math.max(y0, y1) + reach) continue;
    // x grows along the curve, so the point at this x is found by halving.
    let [low, high] = [0, 1];
    for (let i = 0; i < 12; i++) {
      const middle = (low + high) / 2;
      if (along(layout, edge, middle).x < x) low = middle;
      else high = middle;
    }
    const here = along(layout, edge, low);
    const next = along(layout, edge, Math.min(1, low + 0.02));
    const slope = (next.y - here.y) / Math.max(1e-6, next.x - here.x);
    const distance = Math.abs(y - here.y) / Math.hypot(1, slope);
    if (distance < nearest) [nearest, best] = [distance, edge.place];
  }
  return best;
}

/** Where the cursor goes from `place` by an arrow: right and left lead along edges, up and down within a
    layer's units or the edges into it. */
export function move(layers: number[], place: string, key: string): string {
  const [, kind, ...digits] = /^([uwb])(\d+)\.(\d+)(?:\.(\d+))?$/.exec(place) ?? [];
  const [layer = 0, first = 0, second = 0] = digits.map((digit) => Number(digit ?? 0));
  const last = layers.length - 1;
  const clamp = (unit: number, at: number) => Math.min(layers[at]! - 1, Math.max(0, unit));
  if (kind === "u") {
    if (key === "ArrowUp" || key === "ArrowDown") return `u${layer}.${clamp(first + (key === "ArrowUp" ? -1 : 1), layer)}`;
    if (key === "ArrowRight") return layer < last ? `w${layer + 1}.${first}.0` : place;
    if (key === "ArrowLeft") return layer > 0 ? `w${layer}.0.${first}` : place;
  } else {
    const [from, to] = kind === "w" ? [first, second] : [-1, first];
    if (key === "ArrowRight") return `u${layer}.${to}`;
    if (key === "ArrowLeft") return from < 0 ? `u${layer - 1}.${layers[layer - 1]! - 1}` : `u${layer - 1}.${from}`;
    if (key === "ArrowUp" || key === "ArrowDown") {
      const row = layers[layer - 1]! + 1;
      const at = Math.min(row * layers[layer]! - 1, Math.max(0, to * row + from + 1 + (key === "ArrowUp" ? -1 : 1)));
      const unit = Math.floor(at / row);
      const source = (at % row) - 1;
      return source < 0 ? `b${layer}.${unit}` : `w${layer}.${source}.${unit}`;
    }
  }
  if (key === "Home") return "u0.0";
  if (key === "End") return `u${last}.0`;
  return place;
}
