// Moonshot's context caching with the official OpenAI client for Node: its own post and get for /v1/caching, headers and
// a message of the role "cache" for the use of what was created.
// Usage: node contexts.mjs BASE_URL MODEL DOCUMENT_FILE QUESTION EXPECTED_TEXT
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import OpenAI from 'openai';

const [baseURL, model, file, question, expectedText] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'system', content: readFileSync(file, 'utf8') }];
const ask = { role: 'user', content: `Complete this sentence from the document:\n${question}` };
const options = { model, temperature: 0, max_tokens: 100 };

let cache = await client.post('/caching', {
  body: { model, messages, name: 'node', metadata: { biz_id: '110998541001' }, ttl: 300, tags: ['from-node'] },
});
assert.equal(cache.object, 'context_cache_object');
assert.ok(cache.id.startsWith('cache-'));
while (cache.status === 'pending') {
  cache = await client.get(`/caching/${cache.id}`);
}

assert.equal(cache.status, 'ready');
assert.deepEqual(cache.messages, messages);

// A. Headers, and the messages again.
const whole = await client.chat.completions.create(
  { ...options, messages: [...messages, ask] },
  { headers: { 'X-Msh-Context-Cache': cache.id, 'X-Msh-Context-Cache-Reset-TTL': '3600' } },
).withResponse();
assert.equal(whole.data.choices[0].message.content, expectedText);
assert.equal(whole.response.headers.get('msh-context-cache-id'), cache.id);
assert.ok(Number(whole.response.headers.get('msh-context-cache-token-saved')) > 0.9 * cache.tokens);
assert.equal(whole.response.headers.get('msh-context-cache-token-ttl'), '3600');

// B. A message that stands for them, streamed.
for (const reference of [`cache_id=${cache.id};reset_ttl=300`, 'tag=from-node;reset_ttl=300']) {
  const stream = await client.chat.completions.create(
    { ...options, messages: [{ role: 'cache', content: reference }, ask], stream: true },
  ).withResponse();
  let text = '';
  for await (const chunk of stream.data) {
    text += chunk.choices[0]?.delta?.content ?? '';
  }

  assert.equal(text, expectedText);
  assert.equal(stream.response.headers.get('msh-context-cache-id'), cache.id);
  assert.ok(Number(stream.response.headers.get('msh-context-cache-token-saved')) > 0.9 * cache.tokens);
}

const list = await client.get('/caching?limit=20&order=desc&metadata[biz_id]=110998541001');
assert.deepEqual(list.data.map((entry) => entry.id), [cache.id]);
const deleted = await client.delete(`/caching/${cache.id}`);
assert.deepEqual(deleted, { deleted: true, id: cache.id, object: 'context_cache_object.deleted' });
await assert.rejects(client.get(`/caching/${cache.id}`), (error) => error.status === 404);

console.log('ok');
