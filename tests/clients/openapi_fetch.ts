// openapi-typescript's types with openapi-fetch.

import createClient from "openapi-fetch";
import type { paths } from "./schema.js";
import { journey, type Answer, type Api } from "./journey.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });

function answer<T, E>(said: { data?: T; error?: E; response: Response }): Answer<T | E> {
  const data = said.data ?? said.error;
  if (data === undefined) throw new Error("no body");
  return { status: said.response.status, data, etag: said.response.headers.get("etag") };
}

function success<T, E>(said: { data?: T; error?: E; response: Response }): Answer<T> {
  if (said.data === undefined) throw new Error(JSON.stringify(said.error));
  return { status: said.response.status, data: said.data, etag: said.response.headers.get("etag") };
}

const api: Api = {
  name: "openapi-fetch",
  token: async (role, region) => success(await client.POST("/gateway/v1/development/tokens", { body: { role, region } })),
  use: (token) =>
    client.use({
      onRequest({ request }) {
        request.headers.set("authorization", `Bearer ${token}`);
        return request;
      },
    }),
  regions: async (limit) => success(await client.GET("/registry/v1/regions", { params: { query: { limit } } })),
  startImport: async (file, dry_run, key) =>
    success(
      await client.POST("/registry/v1/imports", {
        params: { header: { "Idempotency-Key": key } },
        body: { file: "people.csv", dry_run },
        bodySerializer: () => {
          const form = new FormData();
          form.append("file", file, "people.csv");
          form.append("dry_run", String(dry_run));
          return form;
        },
      }),
    ),
  getImport: async (import_id) =>
    success(await client.GET("/registry/v1/imports/{import_id}", { params: { path: { import_id } } })),
  register: async (body, key) =>
    success(
      await client.POST("/registry/v1/residents", { params: { header: { "Idempotency-Key": key } }, body }),
    ),
  registration: async (registration_id) =>
    success(
      await client.GET("/registry/v1/registrations/{registration_id}", { params: { path: { registration_id } } }),
    ),
  resident: async (resident_id) =>
    answer(await client.GET("/registry/v1/residents/{resident_id}", { params: { path: { resident_id } } })),
  change: async (resident_id, phone, etag) =>
    answer(
      await client.PATCH("/registry/v1/residents/{resident_id}", {
        params: { path: { resident_id }, header: { "If-Match": etag } },
        body: { phone },
      }),
    ),
  code: async (resident_id) =>
    answer(await client.GET("/gateway/v1/codes/{resident_id}", { params: { path: { resident_id } } })),
};

await journey(api, { registered: "003582199003070027", imported: "003582198001010026" });
