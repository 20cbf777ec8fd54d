// Stands for `hub mcp` in the recordings: the same tools and hints, and always the same answer. What the real one does, `hub.mjs` tries.
// It ends when nothing was asked for 5 s after a call: Gemini CLI does not end as long as a server of its own runs.
import { createInterface } from "node:readline";

const hints = (readOnlyHint) => ({ readOnlyHint, ...(readOnlyHint ? {} : { destructiveHint: false }), openWorldHint: false });
const tool = (name, description, fields, readOnly = false) => ({
  name, description, annotations: hints(readOnly),
  inputSchema: { type: "object", properties: Object.fromEntries(fields.map((field) => [field, { type: "string" }])), additionalProperties: false },
});
const tools = [
  tool("say", "Say something in the conversation.", ["text"]), tool("ask", "Ask a person.", ["title", "body"]), tool("subtask", "Give work away.", ["text"]),
  tool("subtask_result", "How a subtask stands.", ["id"], true), tool("thread", "What was said.", [], true),
];
const answers = {
  initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "aura-hub", version: "0.1.0" } }),
  "tools/list": () => ({ tools }),
  "tools/call": ({ name }) => ({ content: [{ type: "text", text: name === "thread" ? "[1] Mo: hello" : "Said." }] }),
  ping: () => ({}),
};
let idle;
createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  clearTimeout(idle);
  if (method === "tools/call") idle = setTimeout(() => process.exit(0), 5000);
  const answer = answers[method];
  const reply = answer ? { result: answer(params ?? {}) } : { error: { code: -32601, message: `no ${method}` } };
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...reply })}\n`);
});
