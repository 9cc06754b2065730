// Completes, streams and reads usage with the official OpenAI client for Node.
// Usage: node check.mjs BASE_URL MODEL EXPECTED_TEXT EXPECTED_CACHED_TOKENS
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [baseURL, model, expectedText, expectedCached] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user', content: 'hi' }];

const whole = await client.chat.completions.create({ model, messages });
assert.equal(whole.choices[0].message.content, expectedText);
assert.equal(whole.choices[0].finish_reason, 'stop');
assert.equal(whole.usage.prompt_tokens_details.cached_tokens, Number(expectedCached));
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

let text = '';
let usage = null;
const stream = await client.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.equal(text, expectedText);
assert.equal(usage.prompt_tokens_details.cached_tokens, Number(expectedCached));

const completion = await client.completions.create({ model, prompt: 'hi', max_tokens: 5 });
assert.equal(completion.choices[0].text, expectedText.slice(0, 5));
assert.equal(completion.choices[0].finish_reason, 'length');

const models = await client.models.list();
assert.deepEqual(models.data.map((m) => m.id), [model]);

await assert.rejects(
  client.chat.completions.create({ model: 'other', messages }),
  (error) => error.status === 404 && error.code === 'model_not_found' && error.param === 'model',
);

console.log('ok');
