// Where the plane's points go in a layer, read off the units' maps.

import type { Frame, Setting } from "../../generated/payloads";
import { unitIndex } from "./values";

/** A unit's activation at points of the ground, by its map: between its points linear, past its edge held. */
export class Reading {
  private high: number;
  private wide: number;
  private from: number;
  private unit: number;
  private stride: number;

  constructor(private setting: Setting, private frame: Frame, layer: number, unit: number) {
    const index = unitIndex(setting.config.layers, layer, unit);
    [, this.high, this.wide] = frame.maps.shape as [number, number, number];
    this.from = index * this.high * this.wide;
    this.unit = frame.map_scale.data[index]! / 127;
    // Every so-many-th point of the surface is in a map.
    const columns = frame.surface.shape[1] || this.wide;
    this.stride = Math.ceil(columns / this.wide) / Math.max(1, columns - 1);
  }

  /** Where a map's last point stands, as a share of the domain. */
  get end(): number {
    return Math.min(1, (this.wide - 1) * this.stride);
  }

  at(x: number, y: number): number {
    const [low, high] = this.setting.domain as [number, number];
    const cell = (value: number, n: number) => Math.min(n - 1, Math.max(0, (value - low) / (high - low) / this.stride));
    const column = cell(x, this.wide);
    const row = this.high > 1 ? cell(y, this.high) : 0;
    const [c, r] = [Math.min(this.wide - 2, Math.floor(column)), Math.min(Math.max(0, this.high - 2), Math.floor(row))];
    const [right, up] = [Math.max(0, column - c), Math.max(0, row - r)];
    const value = (dr: number, dc: number) => this.frame.maps.data[this.from + Math.min(this.high - 1, r + dr) * this.wide + Math.min(this.wide - 1, Math.max(0, c + dc))]!;
    const below = value(0, 0) * (1 - right) + value(0, 1) * right;
    const above = value(1, 0) * (1 - right) + value(1, 1) * right;
    return (below * (1 - up) + above * up) * this.unit;
  }
}
