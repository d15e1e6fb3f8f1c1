// The official client for Node by `require`.
const assert = require("node:assert/strict");
const OpenAI = require("openai");

const [baseURL, model] = process.argv.slice(2);

async function main() {
  const client = new OpenAI({ baseURL, apiKey: "any key does", maxRetries: 0 });
  const messages = [{ role: "user", content: "What is a tree?" }];
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 8 });
  assert.ok(whole.choices[0].message.content);
  const stream = await client.chat.completions.create({ model, messages, max_tokens: 8, stream: true });
  let text = "";
  for await (const event of stream) text += event.choices[0]?.delta?.content ?? "";
  assert.ok(text);
  await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), OpenAI.NotFoundError);
  console.log("ok by require");
}

main();
