// The official client for Node: text to speech to text, whole and streamed, translated, and refused where it is no audio.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [baseURL, voiceModel, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any key does", maxRetries: 0 });
const input = "The quick brown fox jumps over the lazy dog. The train to the city leaves early.";

function hears(text) {
  const words = text.toLowerCase().match(/[a-z]+/g);
  const said = input.toLowerCase().match(/[a-z]+/g);
  assert.ok(said.filter((word) => words.includes(word)).length > 0.75 * said.length, text);
}

const speech = await client.audio.speech.create({ model: voiceModel, voice: "alloy", input, response_format: "mp3" });
assert.equal(speech.headers.get("content-type"), "audio/mpeg");
const sound = Buffer.from(await speech.arrayBuffer());
const file = () => toFile(sound, "speech.mp3", { type: "audio/mpeg" });

hears((await client.audio.transcriptions.create({ model, file: await file() })).text);
hears((await client.audio.translations.create({ model, file: await file() })).text);

let heard = "";
for await (const event of await client.audio.transcriptions.create({ model, file: await file(), stream: true })) {
  if (event.type === "transcript.text.delta") heard += event.delta;
}
hears(heard);

const timed = await client.audio.transcriptions.create({
  model,
  file: await file(),
  response_format: "verbose_json",
  timestamp_granularities: ["word"],
});
assert.ok(timed.words.length > 10);

await assert.rejects(
  client.audio.transcriptions.create({ model, file: await toFile(Buffer.from("no sound"), "a.mp3") }),
  OpenAI.BadRequestError,
);
await assert.rejects(client.audio.speech.create({ model: voiceModel, voice: "nobody", input }), OpenAI.BadRequestError);
console.log("ok: audio");
