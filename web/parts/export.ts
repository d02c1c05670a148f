// Pictures and numbers as files, made in the page.

import type { ViewName } from "../hosts/contract";
import { fieldsOf, fromState } from "../hosts/requests";

export function download(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function csv(rows: (string | number)[][]): string {
  const cell = (value: string | number) => {
    const text = String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** An SVG drawing as PNG bytes at twice its size. */
export async function rasterize(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth * 2;
  canvas.height = image.naturalHeight * 2;
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large for a PNG."))), "image/png"),
  );
}

/** A Python literal: what "copy as Python" writes. */
export function python(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

/** The Python that makes the same picture: what was asked, then what is pinned and switched on. */
export function copyable(view: ViewName, state: Record<string, string>, more: Record<string, unknown> = {}): string {
  const { prompt, model, ...asked } = fromState(view, state);
  const fields = fieldsOf(view);
  const shown = Object.fromEntries(Object.entries(state).filter(([key]) => !(key in fields) && !(key in more)));
  const given = Object.entries({ prompt, model, ...asked, ...more, ...(Object.keys(shown).length > 0 ? { state: shown } : {}) }).filter(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  const lines = given.map(([key, value]) => `    ${key}=${python(value)},\n`).join("");
  return `from llm_workings import show\n\nshow(\n    "${view}",\n${lines})\n`;
}
