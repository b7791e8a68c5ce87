// node bare_node.mjs FOLDER ORT: the bare loop in Node.js; its result is the last line.
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { measure } from './bare.mjs';

const [folder, library] = process.argv.slice(2);
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const module = await import(pathToFileURL(library).href);
const bytes = read('inputs.bin');
const inputs = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const job = JSON.parse(read('job.json').toString());
console.log(JSON.stringify(await measure(module.default ?? module, job, new Uint8Array(read('model.onnx')), inputs)));
process.exit(0);
