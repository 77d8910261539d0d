// orval's client for fetch. It is generated with the address in it.

import * as fangxian from "./generated.js";
import { journey, type Answer, type Api } from "./journey.js";

let headers: Record<string, string> = {};

type Said<T> = { status: number; data: T; headers: Headers };

function answer<S extends Said<unknown>>(said: S): Answer<S["data"]> {
  return { status: said.status, data: said.data, etag: said.headers.get("etag") };
}

function success<T, S extends number>(said: Said<unknown> & { status: number }, status: S): Answer<T> {
  if (said.status !== status) throw new Error(JSON.stringify(said.data));
  return { status: said.status, data: said.data as T, etag: said.headers.get("etag") };
}

const api: Api = {
  name: "orval",
  token: async (role, region) => success<fangxian.TokenGiven, 200>(await fangxian.makeToken({ role, region }), 200),
  use: (token) => {
    headers = { authorization: `Bearer ${token}` };
  },
  regions: async (limit) => success<fangxian.RegionPage, 200>(await fangxian.listRegions({ limit }, { headers }), 200),
  startImport: async (file, dry_run, key) =>
    success<fangxian.ImportJob, 202>(
      await fangxian.startImport({ file, dry_run }, { headers: { ...headers, "Idempotency-Key": key } }),
      202,
    ),
  getImport: async (id) => success<fangxian.ImportJob, 200>(await fangxian.getImport(id, { headers }), 200),
  register: async (person, key) =>
    success<fangxian.Registration, 202>(
      await fangxian.registerResident(person, {
        headers: { ...headers, "Content-Type": "application/json", "Idempotency-Key": key },
      }),
      202,
    ),
  registration: async (id) => success<fangxian.Registration, 200>(await fangxian.getRegistration(id, { headers }), 200),
  resident: async (id) => answer(await fangxian.getResident(id, { headers })),
  change: async (id, phone, etag) =>
    answer(
      await fangxian.changeResident(
        id,
        { phone },
        { headers: { ...headers, "Content-Type": "application/json", "If-Match": etag } },
      ),
    ),
  code: async (id) => answer(await fangxian.getCode(id, { headers })),
};

await journey(api, { registered: "003582199003070035", imported: "003582198001010034" });
