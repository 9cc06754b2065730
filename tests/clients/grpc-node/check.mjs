// Calls unary, server-streaming and bidirectional methods with the gRPC client for Node, to the end, to a deadline, and
// until it has enough.
// Usage: node check.mjs HOST:PORT PROTO_FOLDER EXPECTED_TEXT
import assert from 'node:assert/strict';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [address, protos, expectedText] = process.argv.slice(2);
const load = (file) => grpc.loadPackageDefinition(loader.loadSync(file, {
  includeDirs: [protos], keepCase: true, enums: String, defaults: true, oneofs: true,
}));
const { Generation } = load('kimi/mooncake/v1/generation.proto').kimi.mooncake.v1;
const { Health } = load('grpc/health/v1/health.proto').grpc.health.v1;
const { ServerReflection } = load('grpc/reflection/v1/reflection.proto').grpc.reflection.v1;
const plain = grpc.credentials.createInsecure();
const worker = new Generation(address, plain);
const health = new Health(address, plain);
const reflection = new ServerReflection(address, plain);
const unary = (client, method, request) => new Promise((resolve, reject) => {
  client[method](request, { deadline: Date.now() + 20_000 }, (error, reply) => (error ? reject(error) : resolve(reply)));
});
const generate = (request, options = {}) => new Promise((resolve, reject) => {
  const events = [];
  const call = worker.Generate(request, options);
  call.on('data', (event) => { events.push(event); options.onEvent?.(event, call); });
  call.on('error', reject);
  call.on('end', () => resolve(events));
});

const card = await unary(worker, 'Describe', {});
assert.equal(card.fingerprint.length, 64);
assert.equal(card.kv_layout.element_type, 'KV_ELEMENT_TYPE_F32');

const status = await unary(worker, 'GetStatus', {});
assert.equal(status.ready, true);
assert.ok(status.metrics.length > 0);

assert.equal((await unary(health, 'Check', {})).status, 'SERVING');
assert.equal((await unary(health, 'Check', { service: 'kimi.mooncake.v1.Generation' })).status, 'SERVING');
await assert.rejects(unary(health, 'Check', { service: 'other' }), (e) => e.code === grpc.status.NOT_FOUND);

const request = {
  request_id: 'node', prompt_tokens: [104, 105], max_new_tokens: 100, stop_tokens: [258], report_progress: true,
};
const events = await generate(request);
const tokens = events.filter((e) => e.event === 'token_generated').map((e) => e.token_generated.token_id);
assert.equal(Buffer.from(tokens).toString('utf8'), expectedText);
assert.equal(events.at(-1).finished.reason, 'FINISH_REASON_STOP');
assert.ok(events.some((e) => e.event === 'prefill_progressed'));
assert.equal(events.find((e) => e.event === 'prefill_finished').prefill_finished.prompt_tokens, 2);

await assert.rejects(
  generate({ ...request, prompt_tokens: [] }),
  (e) => e.code === grpc.status.INVALID_ARGUMENT && e.details.includes('prompt_tokens'),
);
await assert.rejects(
  generate({ ...request, model_fingerprint: 'other' }), (e) => e.code === grpc.status.FAILED_PRECONDITION);

// The prompt [0] is answered without end.
await assert.rejects(
  generate({ ...request, prompt_tokens: [0] }, { onEvent: (_, call) => call.cancel() }),
  (e) => e.code === grpc.status.CANCELLED,
);
await assert.rejects(
  generate({ ...request, prompt_tokens: [0] }, { deadline: Date.now() + 300 }),
  (e) => e.code === grpc.status.DEADLINE_EXCEEDED,
);

// Answers follow requests one by one on a stream that stays open.
const asked = [
  { list_services: '' },
  { file_containing_symbol: 'kimi.mooncake.v1.Generation.Generate' },
  { file_by_filename: 'kimi/mooncake/v1/generation.proto' },
  { file_containing_symbol: 'no.such.Symbol' },
];
const told = await new Promise((resolve, reject) => {
  const call = reflection.ServerReflectionInfo({ deadline: Date.now() + 20_000 });
  const answers = [];
  call.on('data', (answer) => {
    answers.push(answer);
    if (answers.length < asked.length) call.write(asked[answers.length]); else call.end();
  });
  call.on('error', reject);
  call.on('end', () => resolve(answers));
  call.write(asked[0]);
});
const names = told[0].list_services_response.service.map((service) => service.name);
assert.ok(names.includes('kimi.mooncake.v1.Generation') && names.includes('grpc.reflection.v1.ServerReflection'));
for (const answer of told.slice(1, 3)) {
  const [file] = answer.file_descriptor_response.file_descriptor_proto;
  assert.ok(file.includes('kimi/mooncake/v1/generation.proto'));
}
assert.equal(told[3].error_response.error_code, grpc.status.NOT_FOUND);

await assert.rejects(
  new Promise((resolve, reject) => {
    const call = reflection.ServerReflectionInfo();
    call.on('data', () => call.cancel());
    call.on('error', reject);
    call.on('end', resolve);
    call.write(asked[0]);
  }),
  (e) => e.code === grpc.status.CANCELLED,
);
await assert.rejects(
  new Promise((resolve, reject) => {
    const call = reflection.ServerReflectionInfo({ deadline: Date.now() + 300 });
    call.on('data', () => {});
    call.on('error', reject);
    call.on('end', resolve);
    call.write(asked[0]);
  }),
  (e) => e.code === grpc.status.DEADLINE_EXCEEDED,
);

console.log('ok');
process.exit(0);
