// Sends the cases of standard input with npm's `cloudevents`; writes one status for each request.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.MODULES}/`);
const { CloudEvent, HTTP } = require("cloudevents");

function made({ attributes, data }) {
  const event = { ...attributes };
  if (data) event.data = data.bytes ? new Uint8Array(Buffer.from(data.bytes, "base64")) : data.value;
  return new CloudEvent(event);
}

function message(mode, events) {
  switch (mode) {
    case "binary":
      return HTTP.binary(events[0]);
    case "structured":
      return HTTP.structured(events[0]);
    case "batch":
      // The SDK has the format of each event, and no message of several.
      return {
        headers: { "content-type": "application/cloudevents-batch+json" },
        body: JSON.stringify(events.map((event) => JSON.parse(HTTP.structured(event).body))),
      };
  }
}

const statuses = [];
for (const { mode, events } of JSON.parse(readFileSync(0, "utf8"))) {
  const { headers, body } = message(mode, events.map(made));
  const answer = await fetch(process.env.TARGET, {
    method: "POST",
    headers: { ...headers, authorization: process.env.AUTHORIZATION },
    body,
  });
  statuses.push(answer.status);
  if (answer.status >= 300) console.error(await answer.text());
}
console.log(JSON.stringify(statuses));
