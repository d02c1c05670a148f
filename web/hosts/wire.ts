// Reads the wire: a safetensors file whose metadata holds the message as JSON, with
// {"$tensor": path} where an array stands, {"$float": "nan"} where a number JSON cannot say, and
// {"$plain": object} around an object that only looks like one of these three.
// The Python half is src/llm_workings/core/wire.py.

export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

const VIEWS = {
  U8: Uint8Array, I8: Int8Array, U16: Uint16Array, I16: Int16Array, U32: Uint32Array, I32: Int32Array,
  F32: Float32Array, F64: Float64Array,
} as const;

const FLOATS: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity };

/** Half-precision bits to the number they stand for. */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The kind of message that `bytes` say they are, such as Frame. */
export function kindOf(bytes: Uint8Array): string {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size))).__metadata__.kind;
}

/** The message that `bytes` hold. Arrays come back as `{data, shape}`. Throws on anything else. */
export function unpack<Message>(bytes: Uint8Array): Message {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  const within = (end: number) => {
    if (end > bytes.length) throw new Error(`The message is cut short: ${bytes.length} bytes of at least ${end}.`);
  };
  within(8 + size);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));

  const tensor = (name: string) => {
    const { dtype, shape, data_offsets: [from, to] } = header[name];
    within(8 + size + to);
    const raw = bytes.slice(8 + size + from, 8 + size + to).buffer; // a copy, so that it is aligned
    if (dtype === "F16") return { data: Float32Array.from(new Uint16Array(raw), half), shape };
    const View = VIEWS[dtype as keyof typeof VIEWS];
    if (!View) throw new Error(`The message holds an array of a type unknown here: ${dtype}.`);
    return { data: new View(raw), shape };
  };
  const rich = (value: Plain): unknown => {
    if (Array.isArray(value)) return value.map(rich);
    if (value === null || typeof value !== "object") return value;
    const marked = Object.keys(value).length === 1;
    if (marked && typeof value.$tensor === "string") return tensor(value.$tensor);
    if (marked && typeof value.$float === "string") return FLOATS[value.$float.toLowerCase()];
    const said = marked && value.$plain ? (value.$plain as { [key: string]: Plain }) : value;
    return Object.fromEntries(Object.entries(said).map(([key, item]) => [key, rich(item)]));
  };
  return rich(JSON.parse(header.__metadata__.json)) as Message;
}
