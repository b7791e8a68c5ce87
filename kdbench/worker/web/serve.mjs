// Does what a measuring process of kdbench asks for, in a page or in Node.js: loads models in onnxruntime-web, calls
// them, and times the calls on the spot. A message is a line of JSON, then the bytes of its tensors.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, bool: Uint8Array, float16: globalThis.Float16Array ?? Uint16Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};
// (module (func (param v128))): a module that only an engine with SIMD takes
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 1, 123, 0]);
const PRIMING_MS = 1;

/** Return the least step of the clock in ns. */
export function clockStep() {
  let least = Infinity;
  for (let n = 0; n < 20; n++) {
    const begin = performance.now();
    let now = begin;
    while (now === begin) now = performance.now();
    least = Math.min(least, now - begin);
  }
  return least * 1e6;
}

/** Answer requests at `url` until the other end is gone; `host` says what it is and which threads it has started. */
export async function serve(ort, url, host) {
  const sessions = new Map();
  let threads = 0;
  const tensors = (described, bytes) => {
    let start = 0;
    return described.map(({ type, dims, size }) => {
      const part = bytes.slice(start, (start += size));
      return new ort.Tensor(type, new ARRAYS[type](part.buffer), dims);
    });
  };
  const handlers = {
    async init(request) {
      threads = request.threads;
      ort.env.wasm.numThreads = threads;
      ort.env.wasm.proxy = false;
      ort.env.wasm.wasmPaths = request.paths ?? undefined;
      ort.env.logLevel = 'error';
      return { ...host.facts(), clock_step_ns: clockStep(), simd: WebAssembly.validate(SIMD),
        shared_memory: typeof SharedArrayBuffer !== 'undefined' };
    },
    async load(request, bytes) {
      let start = 0;
      const files = request.files.map(({ path, size }) => ({ path, data: bytes.slice(start, (start += size)) }));
      const [model, ...externalData] = files;
      const before = host.threads();
      const begin = performance.now();
      const session = await ort.InferenceSession.create(model.data, {
        executionProviders: ['wasm'], graphOptimizationLevel: 'all', executionMode: 'sequential',
        logSeverityLevel: 3, ...(externalData.length ? { externalData } : {}),
      });
      const load_ms = performance.now() - begin;
      sessions.set(request.model, { session, output: request.output, sets: [] });
      const inputs = session.inputMetadata.map(({ name, type, shape }) => ({ name, type, shape }));
      return { inputs, load_ms, threads: ort.env.wasm.numThreads, started: host.threads() - before };
    },
    async call(request, bytes) {
      const { session, output } = sessions.get(request.model);
      const given = tensors(request.tensors, bytes);
      const feeds = Object.fromEntries(request.names.map((name, n) => [name, given[n]]));
      const begin = performance.now();
      const { type, dims, data } = (await session.run(feeds, [output]))[output];
      return [{ type, dims, call_ms: performance.now() - begin }, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    },
    async bind(request, bytes) {
      const model = sessions.get(request.model);
      const given = tensors(request.tensors, bytes);
      const width = request.names.length;
      model.sets = Array.from({ length: given.length / width }, (_, set) =>
        Object.fromEntries(request.names.map((name, n) => [name, given[set * width + n]])));
      return {};
    },
    async time(request) {
      const { session, output, sets } = sessions.get(request.model);
      const names = [output];
      const times = new Float64Array(request.times);
      const { together, gap_ms } = request;
      let next = 0;
      if (request.prime) {
        const begin = performance.now();
        do await session.run(sets[next++ % sets.length], names); while (performance.now() - begin < PRIMING_MS);
      }
      for (let n = 0; n < times.length; n++) {
        if (gap_ms) await new Promise((resume) => setTimeout(resume, gap_ms));
        const begin = performance.now();
        for (let call = 0; call < together; call++) await session.run(sets[next++ % sets.length], names);
        times[n] = ((performance.now() - begin) / together) * 1e6;
      }
      return [{}, new Uint8Array(times.buffer)];
    },
  };
  const answer = async (request, bytes) => {
    try {
      const result = await handlers[request.do](request, bytes);
      return Array.isArray(result) ? result : [result, new Uint8Array()];
    } catch (error) {
      return [{ error: String(error?.message ?? error) }, new Uint8Array()];
    }
  };
  for (;;) {
    const response = await fetch(`${url}/next`);
    if (response.status === 204) continue;
    if (!response.ok) return;
    const message = new Uint8Array(await response.arrayBuffer());
    const end = message.indexOf(10);
    const request = JSON.parse(new TextDecoder().decode(message.subarray(0, end)));
    const [line, content] = await answer(request, message.subarray(end + 1));
    const head = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
    const body = new Uint8Array(head.length + content.length);
    body.set(head);
    body.set(content, head.length);
    await fetch(`${url}/done`, { method: 'POST', body });
  }
}
