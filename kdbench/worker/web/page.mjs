// onnxruntime-web in a page of a browser: it counts the workers that the library starts.
const url = location.pathname.replace(/\/[^/]*$/, '');
const say = (text) => fetch(`${url}/failed`, { method: 'POST', body: String(text) });
addEventListener('error', (event) => say(event.message));
addEventListener('unhandledrejection', (event) => say(event.reason?.message ?? event.reason));

let workers = 0;
globalThis.Worker = class extends Worker {
  constructor(...parameters) {
    super(...parameters);
    workers++;
  }
};
const brands = navigator.userAgentData?.brands?.map(({ brand, version }) => `${brand} ${version}`).join(', ');
const { serve } = await import('./serve.mjs');
const ort = await import('./dist/ort.wasm.min.mjs');
await serve(ort, url, {
  facts: () => ({ engine: navigator.userAgent, brands, isolated: globalThis.crossOriginIsolated === true }),
  threads: () => workers,
});
