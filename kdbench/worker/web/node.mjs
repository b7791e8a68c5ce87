// node node.mjs URL ORT: onnxruntime-web in Node.js. It ends when the process that started it does.
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { serve } from './serve.mjs';

const [url, file] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
const tasks = '/proc/self/task';
const threads = () => (fs.existsSync(tasks) ? fs.readdirSync(tasks).length : NaN);
const module = await import(pathToFileURL(file).href);
await serve(module.default ?? module, url, {
  facts: () => ({ engine: `Node.js ${process.versions.node}`, v8: process.versions.v8, isolated: true }),
  threads,
}).catch((error) => {
  console.error(String(error?.stack ?? error));
  process.exit(1);
});
process.exit(0);
