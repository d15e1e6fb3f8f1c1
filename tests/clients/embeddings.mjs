// Two embeddings with the official client: how many came, how long they are, and how many tokens were read.
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any key does", maxRetries: 0 });
const made = await client.embeddings.create({ model, input: ["Hello world", "Other"] });
console.log(made.data.length, made.data[1].embedding.length, made.usage.prompt_tokens);
