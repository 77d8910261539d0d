// @hey-api/openapi-ts with its client for fetch.

import { client } from "./hey/client.gen.js";
import * as fangxian from "./hey/sdk.gen.js";
import { journey, type Answer, type Api } from "./journey.js";

client.setConfig({ baseUrl: process.argv[2] });

type Said<T, E> = { data?: T; error?: E; response?: Response };

function answer<T, E>(said: Said<T, E>): Answer<NonNullable<T> | NonNullable<E>> {
  const data = said.data ?? said.error;
  if (data === undefined || data === null || said.response === undefined) throw new Error("no body");
  return { status: said.response.status, data, etag: said.response.headers.get("etag") };
}

function success<T, E>(said: Said<T, E>): Answer<T> {
  if (said.data === undefined || said.response === undefined) throw new Error(JSON.stringify(said.error));
  return { status: said.response.status, data: said.data, etag: said.response.headers.get("etag") };
}

const api: Api = {
  name: "hey-api",
  token: async (role, region) => success(await fangxian.makeToken({ body: { role, region } })),
  use: (token) => client.setConfig({ auth: token }),
  regions: async (limit) => success(await fangxian.listRegions({ query: { limit } })),
  startImport: async (file, dry_run, key) =>
    success(await fangxian.startImport({ body: { file, dry_run }, headers: { "Idempotency-Key": key } })),
  getImport: async (import_id) => success(await fangxian.getImport({ path: { import_id } })),
  register: async (body, key) =>
    success(await fangxian.registerResident({ body, headers: { "Idempotency-Key": key } })),
  registration: async (registration_id) => success(await fangxian.getRegistration({ path: { registration_id } })),
  resident: async (resident_id) => answer(await fangxian.getResident({ path: { resident_id } })),
  change: async (resident_id, phone, etag) =>
    answer(await fangxian.changeResident({ path: { resident_id }, body: { phone }, headers: { "If-Match": etag } })),
  code: async (resident_id) => answer(await fangxian.getCode({ path: { resident_id } })),
};

await journey(api, { registered: "003582199003070043", imported: "003582198001010042" });
