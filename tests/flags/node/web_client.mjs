// Runs OpenFeature's web SDK with its OFREP provider against a server, and prints what it sees as JSON lines.
// Each line of the standard input is a command: {"do": "…", …}. The answer to each is one line.
import readline from "node:readline";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

const [baseUrl, authorization] = process.argv.slice(2);
const streamed = [];
// Node 20 has no EventSource. This one reads a stream once, and reports its end as a browser does after a refusal.
globalThis.EventSource ??= class extends EventTarget {
  constructor(url) {
    super();
    this.readyState = 0;
    this.controller = new AbortController();
    this.read(url).catch(() => {}).finally(() => {
      this.readyState = 2;
      if (!this.controller.signal.aborted) this.dispatchEvent(new Event("error"));
    });
  }
  async read(url) {
    const response = await fetch(url, { signal: this.controller.signal });
    if (!response.ok) return;
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).match(/^data: (.*)$/m)?.[1];
        if (data) streamed.push(JSON.parse(data));
        if (data) this.dispatchEvent(Object.assign(new Event("message"), { data }));
      }
    }
  }
  close() {
    this.controller.abort();
  }
};
const requests = [];
const fetchImplementation = async (input, options) => {
  const request = new Request(input, options);
  const response = await fetch(request);
  requests.push({ status: response.status, conditional: request.headers.has("If-None-Match") });
  return response;
};
const provider = new OFREPWebProvider({
  baseUrl,
  pollInterval: 200,
  cacheMode: "disabled",
  fetchImplementation,
  headersFactory: () => [["Authorization", authorization]],
});
const events = [];
for (const [name, event] of Object.entries(ProviderEvents))
  OpenFeature.addHandler(event, (details) => events.push({ name, changed: details?.flagsChanged }));
const client = OpenFeature.getClient();
const methods = {
  boolean: "getBooleanDetails",
  string: "getStringDetails",
  number: "getNumberDetails",
  object: "getObjectDetails",
};
const commands = {
  async start({ context }) {
    await OpenFeature.setContext(context);
    try {
      await OpenFeature.setProviderAndWait(provider);
      return { ready: true };
    } catch (error) {
      return { ready: false, message: error.message, code: error.code };
    }
  },
  async context({ context }) {
    await OpenFeature.setContext(context);
    return {};
  },
  details({ type, key, default: fallback }) {
    const { value, variant, reason, errorCode } = client[methods[type]](key, fallback);
    return { value, variant, reason, errorCode };
  },
  state() {
    return { status: client.providerStatus, requests: requests.splice(0), events: events.splice(0), streamed };
  },
};
for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  console.log(JSON.stringify(await commands[command.do](command)));
}
await OpenFeature.close();
