// The journey of a TypeScript client. What calls are named differs between generators; what they do does not.

export type Answer<T> = { status: number; data: T; etag: string | null };
type Problem = { code: string };

export interface Api {
  name: string;
  token(role: "command", region: string): Promise<Answer<{ access_token: string }>>;
  use(token: string): void;
  regions(limit: number): Promise<Answer<{ items: { id: string }[]; next_cursor?: string | null }>>;
  startImport(file: Blob, dryRun: boolean, key: string): Promise<Answer<{ id: string }>>;
  getImport(id: string): Promise<Answer<{ state: string; result: { created?: number } }>>;
  register(
    person: { name: string; document_number: string; region: string },
    key: string,
  ): Promise<Answer<{ id: string }>>;
  registration(id: string): Promise<Answer<{ state: string; resident_id: string | null }>>;
  resident(id: string): Promise<Answer<{ id: string; version: number } | Problem>>;
  change(id: string, phone: string, etag: string): Promise<Answer<{ version: number } | Problem>>;
  code(id: string): Promise<Answer<{ colour: string } | Problem>>;
}

function expect(what: string, answer: Answer<unknown>, status: number): void {
  console.log(`${what}: ${answer.status}`);
  if (answer.status !== status) throw new Error(`${what}: ${JSON.stringify(answer)}`);
}

async function until<T>(ask: () => Promise<T | null>): Promise<T> {
  for (const deadline = Date.now() + 120_000; Date.now() < deadline; ) {
    const found = await ask();
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  throw new Error("waited in vain");
}

export async function journey(api: Api, people: { registered: string; imported: string }): Promise<void> {
  const token = await api.token("command", "350582005");
  expect("token", token, 200);
  api.use(token.data.access_token);

  const regions = await api.regions(5);
  expect("regions", regions, 200);
  if (regions.data.items.length === 0) throw new Error("no regions");

  const table = `name,document_number,region\n李四,${people.imported},350582005001\n`;
  const started = await api.startImport(new File([table], "people.csv", { type: "text/csv" }), true, crypto.randomUUID());
  expect("import, dry run", started, 202);
  const job = await until(async () => {
    const found = await api.getImport(started.data.id);
    return found.data.state === "succeeded" ? found.data : null;
  });
  console.log(`import, read: 200 created=${job.result.created}`);
  if (job.result.created !== 1) throw new Error(JSON.stringify(job));

  const person = { name: "张三", document_number: people.registered, region: "350582005001" };
  const registered = await api.register(person, crypto.randomUUID());
  expect("register", registered, 202);
  const id = await until(async () => (await api.registration(registered.data.id)).data.resident_id);
  console.log("registration: 200 settled");

  const read = await api.resident(id);
  expect("read", read, 200);
  if (!("version" in read.data) || read.etag === null) throw new Error(JSON.stringify(read));
  const changed = await api.change(id, "15487654321", read.etag);
  expect("change", changed, 200);
  if (!("version" in changed.data) || changed.data.version !== read.data.version + 1) throw new Error("version");
  const stale = await api.change(id, "15487654322", read.etag);
  expect("change again", stale, 412);
  if (!("code" in stale.data) || stale.data.code !== "version_mismatch") throw new Error(JSON.stringify(stale));

  const code = await until(async () => {
    const found = await api.code(id);
    return "colour" in found.data ? found.data : null;
  });
  console.log(`code: 200 ${code.colour}`);

  const unknown = await api.resident(crypto.randomUUID());
  expect("nobody", unknown, 404);
  if (!("code" in unknown.data) || unknown.data.code !== "not_found") throw new Error(JSON.stringify(unknown));
}
