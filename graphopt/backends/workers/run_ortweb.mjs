// Run models in onnxruntime-web by its WebAssembly kernels, in node.  The protocol is that of worker.py.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";

const WARM_UP = 3, FEWEST = 10, MOST = 2000;
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, bool: Uint8Array,
};

const request = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const place = createRequire(join(request.environment, "package.json"));
const ort = await import(pathToFileURL(place.resolve("onnxruntime-web")));
const version = JSON.parse(
  readFileSync(join(request.environment, "node_modules", "onnxruntime-web", "package.json"), "utf-8")).version;
ort.env.wasm.numThreads = request.threads;
ort.env.logLevel = "fatal";

function tensor(entry) {
  const bytes = readFileSync(entry.file);
  const kind = ARRAYS[entry.dtype];
  if (kind === undefined) throw new Error(`no tensors of ${entry.dtype} in JavaScript`);
  const data = new kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return new ort.Tensor(entry.dtype, data, entry.shape);
}

function written(folder, number, name, value) {
  const file = join(folder, `output_${number}.bin`);
  writeFileSync(file, new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength));
  return { name, dtype: value.type, shape: Array.from(value.dims), file };
}

const answers = [], running = [];
for (const [index, job] of request.models.entries()) {
  try {
    const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(job.path)),
      { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    const feeds = Object.fromEntries(job.feeds.map((entry) => [entry.name, tensor(entry)]));
    const made = await session.run(feeds);
    answers.push({ outputs: job.outputs.map((name, i) => written(job.folder, i, name, made[name])), kernels: null });
    running.push({ index, session, feeds, times: [] });
  } catch (error) {
    answers.push({ error: String(error && error.message ? error.message : error) });
  }
}
if (request.seconds) {
  for (const one of running) for (let i = 0; i < WARM_UP; i++) await one.session.run(one.feeds);
  const deadline = performance.now() + 1e3 * request.seconds;
  for (let number = 0; number < MOST && (number < FEWEST || performance.now() < deadline); number++) {
    for (const one of running) {
      const start = performance.now();
      await one.session.run(one.feeds);
      one.times.push(performance.now() - start);
    }
  }
  for (const one of running) answers[one.index].milliseconds = one.times;
}
writeFileSync(request.answer, JSON.stringify({ version, models: answers }));
process.exit(0);
