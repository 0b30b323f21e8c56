// The whole life of a service, with the client of openapi-typescript and openapi-fetch.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

type Schemas = components["schemas"];

const need = (name: string): string => process.env[name] ?? assert.fail(`${name} is not set`);
const [baseUrl, app, key, preset] = [need("API_URL"), need("APP"), need("KEY"), need("PRESET")];

// A token lives for five minutes: a backend gets one for each user, when that user needs something.
const anonymous = createClient<paths>({ baseUrl });
const withToken = (token: string): Client<paths> =>
  createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

// The answer's body, or an exception with what the API says against it.
type Answer<T> = { data?: T; error?: Schemas["Error"]; response: Response };
const ok = <T>({ data, error, response }: Answer<T>): T => {
  if (error !== undefined) throw new Error(`${response.status}: ${error.message} (${error.requestId})`);
  return data as T;
};

// As server-sent events come in.
async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<Schemas["Event"]> {
  const decoded = stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
  for await (const { data } of decoded.pipeThrough(new EventSourceParserStream())) {
    yield JSON.parse(data) as Schemas["Event"];
  }
}

// Names below `localhost` have no DNS: elsewhere this is fetch(service.url).
const open = async (service: Schemas["Service"]): Promise<string> => {
  assert.ok(service.url && service.host);
  const request = http.get(need("GATEWAY"), { headers: { Host: service.host } });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  assert.equal(response.statusCode, 200);
  return text(response);
};

const uid = `typescript-${randomUUID()}`.slice(0, 40);

// Who calls: a backend, for one of its users.
const login = await anonymous.POST("/auth", { body: { app, key, uid } });
const api = withToken(ok(login).token);

// What there is.
const { presets } = ok(await api.GET("/presets"));
assert.ok(presets.some(({ name }) => name === preset), `there is no preset ${preset}`);

// Create. Sent again with the same key, it is the same service.
const request = { params: { header: { "Idempotency-Key": randomUUID() } }, body: { preset, lifetimeMinutes: 10 } };
const created = ok(await api.POST("/", request));
assert.equal(ok(await api.POST("/", request)).id, created.id);
const path = { id: created.id };

// What the preset does not take is told by name.
const refused = await api.POST("/", { body: { preset, lifetimeMinutes: 10, parameters: { colour: "red" } } });
assert.equal(refused.response.status, 422);
assert.equal(refused.error?.faults?.[0]?.pointer, "/colour");

// Wait until it is available, and open it. An answer comes also when something is in the way: `phase` says so.
const patience = Date.now() + 200_000;
const wait = async () => ok(await api.GET("/{id}", { params: { path, query: { wait: 60 } } }));
let service = await wait();
while (service.phase !== "Available") {
  assert.ok(Date.now() < patience, `${service.phase}: ${service.reason}: ${service.message}`);
  await setTimeout(1000);
  service = await wait();
}
assert.match(await open(service), /Welcome to nginx!/);

// It lives longer.
const { expirationTime } = ok(await api.PATCH("/{id}", { params: { path }, body: { lifetimeMinutes: 60 } }));
assert.ok(new Date(expirationTime) > new Date(created.expirationTime));
const { services } = ok(await api.GET("/"));
assert.deepEqual(services.map(({ id }) => id), [created.id]);
assert.equal(services[0]?.expirationTime, expirationTime);

// Follow it to its end. The stream begins with the service as it is.
const stream = ok(await api.GET("/{id}/events", { params: { path }, parseAs: "stream" }));
const kinds: string[] = [];
for await (const event of events(stream as unknown as ReadableStream<Uint8Array>)) {
  if (kinds.length === 0) {
    assert.equal(event.service?.id, created.id);
    assert.equal((await api.DELETE("/{id}", { params: { path } })).response.status, 204);
  }
  kinds.push(event.kind);
}
assert.equal(kinds[0], "service");
assert.equal(kinds.at(-1), "gone");

// Nothing is left of it.
const missing = await api.GET("/{id}", { params: { path } });
assert.equal(missing.response.status, 404);
assert.ok(missing.error?.message.includes(created.id));

// The backend itself sees the services of all its users, and can delete many at once.
const second = ok(await api.POST("/", { body: { preset, lifetimeMinutes: 10 } }));
const backend = withToken(ok(await anonymous.POST("/auth/app", { body: { app, key } })).token);
const query = { user: uid };
const listed = ok(await backend.GET("/", { params: { query } }));
assert.deepEqual(listed.services.map(({ id, user }) => [id, user]), [[second.id, `${uid}.${app}`]]);
const outcome = ok(await backend.DELETE("/", { params: { query } }));
assert.deepEqual(outcome, { matched: 1, done: 1, failed: 0, failures: [] });
assert.deepEqual(ok(await backend.GET("/", { params: { query } })).services, []);

console.log(`typescript: ${created.id} has lived, from its creation to its end`);
