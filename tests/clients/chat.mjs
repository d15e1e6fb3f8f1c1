// The official client for Node by `import`: chat whole and streamed, completions, models, errors, time-out, abort.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any key does", maxRetries: 0 });
const endless = { ignore_eos: true }; // a small model may have little to say
const messages = [
  { role: "system", content: "You answer briefly." },
  { role: "user", content: "What is a tree?" },
];

const whole = await client.chat.completions.create({ model, messages, max_tokens: 16 });
assert.ok(whole.choices[0].message.content);
assert.ok(whole.usage.completion_tokens <= 16);

let pieces = 0;
for await (const event of await client.chat.completions.create({ model, messages, max_tokens: 16, stream: true, ...endless })) {
  pieces += Boolean(event.choices[0]?.delta?.content);
}
assert.ok(pieces > 2, "the answer came piece by piece");

const completion = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 4 });
assert.ok(completion.choices[0].text);

const models = [];
for await (const item of client.models.list()) models.push(item.id);
assert.ok(models.includes(model));

await assert.rejects(client.chat.completions.create({ model: "nobody-has-this", messages }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
await assert.rejects(
  client.chat.completions.create({ model, messages, max_tokens: 2000, ...endless }, { timeout: 200 }),
  OpenAI.APIConnectionTimeoutError,
);

const aborted = await client.chat.completions.create({ model, messages, max_tokens: 2000, stream: true, ...endless });
for await (const _ of aborted) {
  aborted.controller.abort();
}

const text = "你好，世界 🌍🚀";
const spelled = await client.chat.completions.create({
  model,
  messages,
  max_tokens: 64,
  stream: true,
  grammar: `root ::= "${text}"`,
});
let heard = "";
for await (const event of spelled) heard += event.choices[0]?.delta?.content ?? "";
assert.equal(heard, text);
console.log("ok by import");
