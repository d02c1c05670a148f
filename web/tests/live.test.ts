import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Live, type Hears } from "../hosts/live";

function message(kind: string, value: object): ArrayBuffer {
  const header = new TextEncoder().encode(JSON.stringify({ __metadata__: { kind, json: JSON.stringify(value) } }));
  const bytes = new Uint8Array(8 + header.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  return bytes.buffer;
}

class Socket {
  static OPEN = 1;
  static last: Socket;
  readyState = 1;
  sent: unknown[] = [];
  onopen?: () => void;
  onclose?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  constructor(readonly url: string) {
    Socket.last = this;
  }
  send(data: string): void {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }
  close(): void {
    this.onclose?.();
  }
  hear(data: unknown): void {
    this.onmessage?.({ data });
  }
}

let paint: (() => void)[] = [];
beforeEach(() => {
  paint = [];
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => paint.push(draw));
});
afterEach(() => vi.unstubAllGlobals());

function listen() {
  const heard: [string, unknown][] = [];
  const hears = new Proxy({}, { get: (_, name: string) => (...args: unknown[]) => heard.push([name, args.length > 1 ? args : args[0]]) }) as Hears;
  return { heard, live: new Live(hears), socket: Socket.last };
}

test("of two frames that came at once the later is drawn, and said to be drawn after it was", () => {
  const { heard, socket } = listen();
  expect(socket.url).toMatch(/^ws:.*\/api\/network$/);
  socket.hear(message("Frame", { step: 1 }));
  socket.hear(message("Frame", { step: 2 }));
  expect([heard, socket.sent, paint.length]).toEqual([[], [], 1]);
  paint[0]!();
  expect(heard).toEqual([["frame", { step: 2 }]]);
  expect(socket.sent).toEqual([{ do: "ready" }]);
  expect(performance.getEntriesByName("frame").length).toBeGreaterThan(0);
});

test("a frame that cannot be drawn does not stop those that come after it", () => {
  const hears = { frame: () => { throw new Error("no"); } } as unknown as Hears;
  new Live(hears);
  Socket.last.hear(message("Frame", {}));
  expect(() => paint[0]!()).toThrow("no");
  expect(Socket.last.sent).toEqual([{ do: "ready" }]);
});

test("every kind of message finds its listener; an unknown one is let pass", () => {
  const { heard, live, socket } = listen();
  socket.hear(message("Tree", { branch: 0 }));
  socket.hear(message("SweepGrid", { step: 5 }));
  socket.hear(message("SomethingNew", {}));
  socket.hear(JSON.stringify({ say: "status", playing: true, speed: 0, findings: [] }));
  socket.hear(JSON.stringify({ say: "script", text: "import llm_workings" }));
  socket.hear(JSON.stringify({ say: "error", error: { kind: "BadInput", message: "No.", hint: "Try 2,4,1.", given: {} } }));
  expect(heard.slice(0, 4)).toEqual([
    ["tree", { branch: 0 }], ["grid", { step: 5 }], ["status", { say: "status", playing: true, speed: 0, findings: [] }], ["file", ["script", "import llm_workings"]],
  ]);
  expect(heard[4]).toEqual(["error", expect.objectContaining({ message: "No.", hint: "Try 2,4,1." })]);
  live.send({ do: "step", n: -1, unit: "epoch" });
  expect(socket.sent).toEqual([{ do: "step", n: -1, unit: "epoch" }]);
});

test("a lab that goes away is said to be gone; a page that is left says nothing", () => {
  const gone = listen();
  gone.socket.onclose!();
  expect(gone.heard).toEqual([["lost", expect.objectContaining({ kind: "Gone" })]]);
  const left = listen();
  left.live.close();
  expect(left.heard).toEqual([]);
});
