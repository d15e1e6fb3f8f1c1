// The official client for Node: a picture made, edited with a mask, by URL, and refused where its size is none.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any key does", maxRetries: 0 });
const size = "64x64";
const prompt = "a lighthouse";
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47]);

function picture(item, width, height) {
  const data = Buffer.from(item.b64_json, "base64");
  assert.deepEqual(data.subarray(0, 4), PNG);
  assert.deepEqual([data.readUInt32BE(16), data.readUInt32BE(20)], [width, height]);
  return data;
}

const made = await client.images.generate({ model, prompt, size, n: 2 });
assert.equal(made.data.length, 2);
const [first, second] = made.data.map((item) => picture(item, 64, 64));
assert.notDeepEqual(first, second);

const edited = await client.images.edit({
  model,
  image: await toFile(first, "first.png", { type: "image/png" }),
  mask: await toFile(second, "mask.png", { type: "image/png" }),
  prompt,
  size: "96x64",
});
picture(edited.data[0], 96, 64);

const named = await client.images.generate({ model, prompt, size, response_format: "url" });
const fetched = await fetch(named.data[0].url);
assert.equal(fetched.headers.get("content-type"), "image/png");
assert.deepEqual(Buffer.from(await fetched.arrayBuffer()).subarray(0, 4), PNG);

await assert.rejects(client.images.generate({ model, prompt, size: "huge" }), OpenAI.BadRequestError);
await assert.rejects(
  client.images.edit({ model, image: await toFile(Buffer.from("no picture"), "a.png", { type: "image/png" }), prompt }),
  OpenAI.BadRequestError,
);
console.log("ok: images");
