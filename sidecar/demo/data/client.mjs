// A sample application in TypeScript's SDK: it knows nothing of the sidecar but the address in ANTHROPIC_BASE_URL.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ apiKey: "any", timeout: 2000, maxRetries: 2 });

async function ask() {
  try {
    const stream = await client.messages.create({
      model: "claude-haiku-4-5",
      max_tokens: 300,
      stream: true,
      messages: [{ role: "user", content: "What does a user feel first?" }],
    });
    for await (const event of stream) void event;
  } catch {
    // Calls that fail are what this is for.
  }
}

setInterval(ask, 700);
