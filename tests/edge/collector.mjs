// A collector of OpenTelemetry's spans (OTLP over HTTP, JSON): keeps what it is sent, and tells it to whoever waits for a trace.
import { createServer } from "node:http";

const spans = [];
const waiting = new Set();

function keep({ resourceSpans = [] }) {
  const plain = (attributes = []) => Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0])]));
  for (const { resource, scopeSpans = [] } of resourceSpans) {
    const service = plain(resource?.attributes)["service.name"];
    for (const { spans: sent = [] } of scopeSpans) spans.push(...sent.map((span) => ({ ...span, service, attributes: plain(span.attributes) })));
  }
  for (const look of waiting) look();
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/v1/traces") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    keep(JSON.parse(Buffer.concat(chunks)));
    return response.setHeader("content-type", "application/json").end("{}");
  }
  const found = () => spans.filter(({ traceId }) => traceId === url.searchParams.get("trace"));
  const services = url.searchParams.get("services").split(",");
  const answer = () => {
    clearTimeout(late);
    waiting.delete(look);
    response.setHeader("content-type", "application/json").end(JSON.stringify(found()));
  };
  // A request is the last span of its own to end.
  const look = () => services.every((service) => found().some((span) => span.service === service && span.name === "request")) && answer();
  const late = setTimeout(answer, 30_000);
  waiting.add(look);
  look();
}).listen(Number(process.env.PORT), "127.0.0.1");
