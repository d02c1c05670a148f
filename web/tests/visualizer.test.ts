import { expect, test } from "vitest";
import type { Config, DataSpec, Frame, Setting } from "../generated/payloads";
import { OWN, outputFor, readAddress, readPainted, writeAddress, writePainted } from "../parts/network/address";
import { contour } from "../parts/network/contour";
import { groundOf } from "../parts/network/drawSurface";
import { Reading } from "../parts/network/fold";
import { along, curve, edgesInto, layOut, move, placeAt } from "../parts/network/geometry";
import { CONFIG, csvShape, DATA, fitted, PRESETS, proposed, proposedData, relayered, shapeOf, type DataName } from "../parts/network/presets";
import { answerAt, nearest, placeText } from "../parts/network/reading";
import { nearestFrame } from "../parts/network/replay.svelte";
import { readSizes, withLoss } from "../parts/network/settings";
import { exists, parameter, scaleOf, strongest, unitIndex } from "../parts/network/values";

const written = (config: Config, data: DataSpec) =>
  Object.fromEntries(Object.entries(writeAddress(config, data)).filter((entry): entry is [string, string] => entry[1] !== null));

test("the address carries what differs, by readable names, and brings it back", () => {
  expect(written(proposed(DATA), DATA)).toEqual({});
  const spiral = proposedData("spiral");
  const config = { ...relayered(proposed(spiral), [4]), learning_rate: 0.03, seed: 7, clip: 1.5, penalize_bias: true };
  const data = { ...spiral, test: 0.2, features: ["x", "y", "x²", "sin y"] as DataSpec["features"] };
  const on = fitted(config, data);
  expect(written(on, data)).toEqual({ data: "spiral", test: "0.2", features: "x,y,x2,siny", layers: "4,4,1", rate: "0.03", seed: "7", clip: "1.5", penalize_bias: "true" });
  expect(readAddress(written(on, data))).toEqual({ config: on, data });
});

test("every set's proposal is the address's default, and fits the set", () => {
  for (const name of Object.keys(PRESETS) as DataName[]) {
    const data = proposedData(name);
    const config = proposed(data);
    const params = written(config, data);
    expect(Object.keys(params).filter((key) => !["data", "csv", "painted"].includes(key))).toEqual([]);
    expect(readAddress(params).config).toEqual(config);
    const { inputs, outputs } = shapeOf(data);
    expect([config.layers[0], config.layers.at(-1)]).toEqual([inputs, outputs]);
    expect(config.activations).toHaveLength(config.layers.length - 1);
  }
});

test("activations, losses and points painted by hand travel too", () => {
  const data = proposedData("circles");
  const mixed: Config = { ...relayered(proposed(data), [4, 3]), activations: ["relu", "tanh", "sigmoid"] };
  expect(readAddress(written(mixed, data)).config).toEqual(mixed);
  const even: Config = { ...mixed, activations: ["relu", "relu", "sigmoid"] };
  expect(written(even, data).activation).toBe("relu");
  const hinge: Config = { ...even, ...withLoss(even, "hinge") };
  expect(readAddress(written(hinge, data)).config).toEqual(hinge);
  const painted = { ...proposedData("painted"), painted: [[1.25, -2, 0], [0.5, 3, 2]] as DataSpec["painted"] };
  expect(readPainted(writePainted(painted.painted))).toEqual(painted.painted);
  expect(shapeOf(painted)).toEqual({ inputs: 2, outputs: 3, classes: true });
  expect(readAddress(written(proposed(painted), painted)).data).toEqual(painted);
});

test("nonsense in an address is as if it were not there, and a table too long for it is found again", () => {
  expect(readAddress({ data: "no such", layers: "2,x,1", rate: "fast", features: "w", painted: "1,2" })).toEqual({ config: proposed(DATA), data: DATA });
  const csv = `a,b,kind\n${"1,2,x\n3,4,y\n".repeat(400)}`;
  const data = { ...proposedData("csv"), csv };
  expect(written(proposed(data), data).csv).toBeUndefined();
  expect(readAddress({ data: "csv" }, { csv, painted: [] }).data.csv).toBe(csv);
  expect(OWN).toEqual([...new Set(OWN)]); // no two settings under one name
});

test("a table's columns are counted as the lab will count them", () => {
  expect(csvShape("length,width,kind\n5.1,3.5,a\n4.9,3,b\n", "")).toEqual({ inputs: 2, outputs: 1, classes: true });
  expect(csvShape("a;b;c;y\n1;2;3;0.5\n2;3;4;0.7\n", "")).toEqual({ inputs: 3, outputs: 1, classes: false });
  expect(csvShape("1,a\n2,b\n3,c\n", "")).toEqual({ inputs: 1, outputs: 3, classes: true });
  expect(csvShape("kind,a,b,c\nu,1,2,3\nv,1,2,3\nw,1,2,3\n", "kind")).toEqual({ inputs: 3, outputs: 3, classes: true });
});

test("a network goes over to other data with its hidden layers and its training", () => {
  const mine = { ...relayered(CONFIG, [5, 3]), learning_rate: 0.07 };
  const digits = fitted(mine, proposedData("digits"));
  expect([digits.layers, digits.loss, digits.activations, digits.learning_rate]).toEqual([[64, 5, 3, 10], "cross_entropy", ["tanh", "tanh", "softmax"], 0.07]);
  const wave = fitted(digits, proposedData("wave"));
  expect([wave.layers, wave.loss, wave.activations.at(-1)]).toEqual([[2, 5, 3, 1], "mse", "linear"]);
  expect(fitted(wave, DATA).loss).toBe("binary_cross_entropy");
  expect(outputFor("mse", "softmax")).toBe("sigmoid");
  expect(withLoss({ ...CONFIG, confidence_penalty: 0.1 }, "hinge")).toEqual({ loss: "hinge", activations: ["tanh", "linear"], confidence_penalty: 0 });
});

test("sizes are read from text", () => {
  expect(readSizes("2-8, 8 1")).toEqual([2, 8, 8, 1]);
  expect(readSizes("2-0-1")).toEqual([2, 0, 1]); // the lab says what is wrong with it
  expect([readSizes(""), readSizes("2-a-1")]).toEqual([null, null]);
});

test.each([[[2, 4, 1], 560, 440, 0], [[2, ...Array(11).fill(8), 1], 640, 420, 0], [[64, 32, 10], 500, 420, 8], [[2, 256, 256, 1], 500, 420, 0], [[1, 1], 340, 280, 0]] as [number[], number, number, number][])(
  "the diagram of %j lies within its room, and nothing on anything else",
  (layers, width, height, image) => {
    const layout = layOut(layers, width, height, image);
    const nodes = layout.units.flat();
    expect(nodes).toHaveLength(layers.reduce((a, b) => a + b));
    for (const { x, y, size } of [...nodes, ...layout.biases]) {
      expect(size).toBeGreaterThanOrEqual(4);
      expect(x - size / 2).toBeGreaterThanOrEqual(0);
      expect(x + size / 2).toBeLessThanOrEqual(width);
      expect(y - size / 2).toBeGreaterThanOrEqual(0);
      expect(y + size / 2).toBeLessThanOrEqual(height + 0.01);
    }
    for (const column of layout.units) {
      for (const [a, b] of column.slice(1).map((b, i) => [column[i]!, b] as const)) {
        expect(Math.max(Math.abs(a.x - b.x), Math.abs(a.y - b.y))).toBeGreaterThanOrEqual(a.size - 0.01);
      }
    }
    layout.columns.slice(1).forEach((column, i) => expect(column.left).toBeGreaterThan(layout.columns[i]!.right));
  },
);

test("a point over the diagram finds its unit, its edge or nothing", () => {
  const layout = layOut([2, 4, 1], 560, 440);
  const edges = [...edgesInto([2, 4, 1], 1), ...edgesInto([2, 4, 1], 2)];
  expect(edges).toHaveLength(17);
  for (const node of layout.units.flat()) expect(placeAt(layout, edges, node.x + 3, node.y - 3)).toBe(`u${node.layer}.${node.unit}`);
  for (const edge of edges) {
    const { x0, y0 } = curve(layout, edge);
    expect(along(layout, edge, 0)).toEqual({ x: x0, y: y0 });
    const alone = along(layout, edge, 0.37);
    expect(placeAt(layout, [edge], alone.x, alone.y + 2)).toBe(edge.place);
  }
  expect(placeAt(layout, edges, 280, 438)).toBeNull();
});

test("the arrow keys walk along edges and reach every place", () => {
  const layers = [2, 3, 1];
  const seen = new Set(["u0.0"]);
  const queue = ["u0.0"];
  while (queue.length > 0) {
    const at = queue.pop()!;
    for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]) {
      const next = move(layers, at, key);
      expect(exists(layers, next)).toBe(true);
      if (!seen.has(next)) queue.push(next);
      seen.add(next);
    }
  }
  expect(seen.size).toBe(6 + 9 + 4); // units, weights and biases
  expect(move(layers, "u1.2", "ArrowLeft")).toBe("w1.0.2");
  expect(move(layers, "w1.0.2", "ArrowUp")).toBe("b1.2");
  expect(move(layers, "w1.1.2", "ArrowRight")).toBe("u1.2");
  expect(move(layers, "u2.0", "ArrowRight")).toBe("u2.0");
});

test("places are those of the network, and their numbers those of the frame", () => {
  const frame = { weights: [{ data: Float64Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] }, { data: Float64Array.of(7, -8, 9), shape: [3, 1] }], biases: [{ data: Float64Array.of(0.1, 0.2, 0.3), shape: [3] }, { data: Float64Array.of(0.4), shape: [1] }] };
  expect(parameter(frame, "w1.1.2")).toBe(6);
  expect(parameter(frame, "b2.0")).toBe(0.4);
  expect([parameter(frame, "w1.0.3"), parameter(frame, "u1.0"), parameter(frame, "w9.0.0")]).toEqual([NaN, NaN, NaN]);
  expect(["u2.0", "w2.2.0", "b1.2"].every((place) => exists([2, 3, 1], place))).toBe(true);
  expect(["u3.0", "w2.3.0", "w0.0.0", "b0.1", "x", undefined].some((place) => exists([2, 3, 1], place))).toBe(false);
  expect(unitIndex([2, 3, 1], 2, 0)).toBe(5);
  expect(strongest(frame, edgesInto([2, 3, 1], 2), 2).map((edge) => edge.place)).toEqual(["w2.1.0", "w2.2.0"]);
});

test("a contour lies where the field crosses the level", () => {
  const [rows, columns] = [9, 9];
  const field = Float32Array.from({ length: rows * columns }, (_, i) => Math.hypot((i % columns) - 4, Math.floor(i / columns) - 4));
  const line = contour(field, rows, columns, 2.5);
  expect(line.length).toBeGreaterThan(40);
  for (let i = 0; i < line.length; i += 2) expect(Math.abs(Math.hypot(line[i]! - 4, line[i + 1]! - 4) - 2.5)).toBeLessThan(0.1);
  expect(contour(field, rows, columns, 9)).toEqual([]);
  expect(contour([1, 0, 0, 1], 2, 2, 0.4)).toHaveLength(8); // a saddle: two lines
});

const setting = {
  task: "classes", classes: ["0", "1"], coordinates: ["x", "y"], features: ["x", "y"], dimensions: 2, domain: [-2, 2], image_side: 0,
  config: CONFIG, data: DATA, n_parameters: 17, steps_an_epoch: 1,
  points: { data: Float32Array.of(0, 0, 1, 1), shape: [2, 2] }, targets: { data: Float32Array.of(0, 1), shape: [2, 1] }, held_back: { data: new Uint8Array(2), shape: [2] },
} as Setting;

test("a map between its points is linear: a unit's activation anywhere on the plane", () => {
  // The surface has 9 points a side and a map every second of them; unit 0 says x, unit 1 says y.
  const at = [-2, -1, 0, 1, 2];
  const maps = Int8Array.from([...at.flatMap(() => at), ...at.flatMap((y) => at.map(() => y))], (value) => Math.round((value / 2) * 127));
  const frame = { maps: { data: maps, shape: [2, 5, 5] }, map_scale: { data: Float32Array.of(2, 2), shape: [2] }, surface: { data: new Float32Array(81), shape: [9, 9] } } as unknown as Frame;
  const [x, y] = [new Reading(setting, frame, 0, 0), new Reading(setting, frame, 0, 1)];
  expect(x.end).toBe(1);
  for (const point of [[-2, -2], [0.3, 1.7], [1.99, -0.4], [2, 2]] as [number, number][]) {
    expect(x.at(...point)).toBeCloseTo(point[0], 1);
    expect(y.at(...point)).toBeCloseTo(point[1], 1);
  }
});

test("the picture says its numbers", () => {
  const frame = {
    branch: 0, step: 3, sample: null, surface: { data: Float32Array.of(0.1, 0.2, 0.8, 0.9), shape: [2, 2] }, winner: { data: Uint8Array.of(0, 0, 1, 1), shape: [2, 2] },
    maps: { data: new Int8Array(0), shape: [7, 0, 0] }, map_scale: { data: new Float32Array(7), shape: [7] },
    weights: [{ data: new Float64Array(8).fill(-0.25), shape: [2, 4] }], biases: [{ data: new Float64Array(4), shape: [4] }],
  } as unknown as Frame;
  expect(answerAt(setting, frame, [-2, 2])).toBe("x −2.00, y 2.00: 0.800, class 1");
  expect(placeText(setting, frame, null, "w1.1.3")).toBe("Weight from y to unit 1.3: −0.25.");
  const ground = groundOf(setting, 410, 400);
  const [x, y] = ground.invert(ground.x(0.7), ground.y(-1.1));
  expect([x, y].map((value) => Number(value.toFixed(6)))).toEqual([0.7, -1.1]);
  expect(nearest(setting, ground, [0.95, 1.05], 20)).toBe(1);
  expect(nearest(setting, ground, [-1.5, 1.5], 20)).toBeNull();
  expect(scaleOf(setting)).toEqual({ middle: 0.5, reach: 0.5 });
  expect(scaleOf({ ...setting, config: { ...CONFIG, loss: "hinge", activations: ["tanh", "linear"] } })).toEqual({ middle: 0, reach: 1 });
});

test("a recording goes to the moment of the branch that is nearest", () => {
  const frames = [{ branch: 0, step: 0 }, { branch: 0, step: 10 }, { branch: 1, step: 12 }, { branch: 1, step: 40 }];
  expect([nearestFrame(frames, 0, 40), nearestFrame(frames, 1, 27), nearestFrame(frames, 1, 25), nearestFrame(frames, 9, 11)]).toEqual([1, 3, 2, 1]);
});
