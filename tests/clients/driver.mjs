// Plays calls through the official TypeScript SDK, and prints what the application saw of each, as JSON.
import Anthropic from "@anthropic-ai/sdk";

async function play({ url, fault, stream, timeout, retries }) {
  const client = new Anthropic({ baseURL: url, apiKey: "any", timeout: timeout * 1000, maxRetries: retries });
  const options = { headers: { "x-chaos": fault, "x-sidecar-profile": "interactive" } };
  const request = {
    model: "claude-sonnet-5",
    max_tokens: 20,
    messages: [{ role: "user", content: "Hello" }],
    stream,
  };
  try {
    const answer = await client.messages.create(request, options);
    if (!stream) return { content: answer.content, stop: answer.stop_reason, usage: answer.usage };
    const events = [];
    for await (const event of answer) events.push(event.message ? event.message.usage : event);
    return { events };
  } catch (error) {
    return { error: error.constructor.name, status: error.status ?? null, type: error.error?.error?.type ?? null };
  }
}

let text = "";
for await (const piece of process.stdin) text += piece;
console.log(JSON.stringify(await Promise.all(JSON.parse(text).map(play))));
process.exit(0); // connections of calls that were given up are of no interest
