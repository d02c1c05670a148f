// The line on which a field of numbers crosses a level, by marching squares.

/** Segments [x0, y0, x1, y1, …] in cells, of a field `rows` by `columns` stored row by row. */
export function contour(data: ArrayLike<number>, rows: number, columns: number, level: number): number[] {
  const segments: number[] = [];
  const cut = (a: number, b: number) => (level - a) / (b - a);
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      const at = row * columns + column;
      const [a, b, c, d] = [data[at]!, data[at + 1]!, data[at + columns + 1]!, data[at + columns]!];
      const sides = (a > level ? 1 : 0) | (b > level ? 2 : 0) | (c > level ? 4 : 0) | (d > level ? 8 : 0);
      if (sides === 0 || sides === 15) continue;
      const points: number[] = [];
      if (a > level !== b > level) points.push(column + cut(a, b), row);
      if (b > level !== c > level) points.push(column + 1, row + cut(b, c));
      if (c > level !== d > level) points.push(column + cut(d, c), row + 1);
      if (d > level !== a > level) points.push(column, row + cut(a, d));
      if (points.length === 8 && (a + b + c + d) / 4 > level === a > level) {
        // A saddle whose middle is on a's side: the line turns around b and around d.
        segments.push(...points.slice(0, 4), ...points.slice(4));
      } else if (points.length === 8) {
        segments.push(points[0]!, points[1]!, points[6]!, points[7]!, points[2]!, points[3]!, points[4]!, points[5]!);
      } else segments.push(...points);
    }
  }
  return segments;
}
