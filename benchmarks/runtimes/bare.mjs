// Calls a model of onnxruntime-web for some seconds; returns the median time of a call in ns and each input's class.
const BLOCK_MS = 2; // the clock of a page steps by 5 µs: calls are timed in blocks that are long beside it

export async function measure(ort, job, model, inputs) {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  const size = job.dims.reduce((product, side) => product * side, 1);
  const feeds = Array.from({ length: job.samples }, (_, n) =>
    ({ [job.input]: new ort.Tensor('float32', inputs.slice(n * size, (n + 1) * size), job.dims) }));
  let next = 0;
  const call = () => session.run(feeds[next++ % feeds.length]);
  // Engines compile busy code again for a while; the calls before the clock take as long as those that count.
  let end = performance.now() + job.seconds * 1000;
  do await call(); while (performance.now() < end);
  let begin = performance.now();
  for (let n = 0; n < 100; n++) await call();
  const together = Math.max(Math.ceil((BLOCK_MS * 100) / (performance.now() - begin)), 1);
  const times = [];
  end = performance.now() + job.seconds * 1000;
  while (performance.now() < end) {
    begin = performance.now();
    for (let n = 0; n < together; n++) await call();
    times.push((performance.now() - begin) / together);
  }
  const classes = [];
  for (const feed of feeds) {
    const { data } = (await session.run(feed))[job.output];
    classes.push(data.indexOf(Math.max(...data)));
  }
  times.sort((a, b) => a - b);
  return { p50_ns: times.length ? times[times.length >> 1] * 1e6 : null, together, classes };
}
