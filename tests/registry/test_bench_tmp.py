import time, resource, os, cProfile, pstats
from datetime import date
from pathlib import Path
from deploy.demo.population import Population
from shared.actors import Role
from shared.ids import named_id
from shared.jobs import run_open_jobs
from shared.regions import parent_of

import psutil
def pgcpu(postmaster):
    tot=0
    for p in psutil.Process(postmaster).children(recursive=True)+[psutil.Process(postmaster)]:
        try:
            t=p.cpu_times(); tot+=t.user+t.system
        except psutil.Error: pass
    return tot
async def test_bench(district, tmp_path, monkeypatch):
    import services.registry.imports.taking as tk
    class A:
        def __getattr__(self, n):
            import asyncio; return getattr(asyncio, n)
        async def to_thread(self, f, *a): return f(*a)
    if os.environ.get('INLINE'): monkeypatch.setattr(tk, 'asyncio', A())
    n = int(os.environ.get("N", "100000"))
    pop = Population.generate(n, 1, today=date(2026,11,24))
    pop.to_csv(tmp_path/"p.csv")
    import asyncpg
    c = await asyncpg.connect(district.database.owner_url)
    await c.executemany("INSERT INTO registry.regions (id, region, name, level, parent) VALUES ($1,$2,$3,$4,$5)",
        [(named_id("region", r.code), r.code, r.name, r.level, parent_of(r.code)) for r in pop.regions])
    print("regions", len(pop.regions), "bytes", (tmp_path/"p.csv").stat().st_size)
    del pop
    command = district.caller("registry", Role.COMMAND)
    pm = psutil.Process(c.get_server_pid()).ppid()
    for label in ("first", "again"):
        t = time.perf_counter()
        with (tmp_path/"p.csv").open("rb") as f:
            r = await command.post("/registry/v1/imports", files={"file": ("a.csv", f, "text/csv")})
        print("upload", time.perf_counter()-t, r.status_code)
        t = time.perf_counter(); cpu = time.process_time(); pc = pgcpu(pm)
        pr = cProfile.Profile() if os.environ.get("PROF") else None
        if pr: pr.enable()
        await run_open_jobs(district.houses["registry"], district.workers["registry"].jobs)
        if pr: pr.disable(); pstats.Stats(pr).sort_stats("tottime").print_stats(35)
        d = time.perf_counter()-t
        r = await command.get(r.headers["location"])
        print("PG cpu", pgcpu(pm)-pc); print(label, f"{d:.2f}s {n/d:.0f} rows/s, cpu {time.process_time()-cpu:.2f}", r.text, "peak RSS MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
    t = time.perf_counter()
    r = await command.get("/registry/v1/population?region=350582005"); print("population", time.perf_counter()-t, r.json()["total"])
    print((await c.fetchrow("select count(*), max(version) from registry.residents")), (await c.fetchval("select count(*) from registry.feed")))
    for q in ("select relname, pg_total_relation_size(oid)/1000000 from pg_class where relnamespace='registry'::regnamespace and relkind='r' order by 2 desc limit 4",):
        print(await c.fetch(q))
    import io
    buf = io.BytesIO()
    await c.execute("set search_path = registry")
    await c.copy_from_table("residents", output=buf, format="binary"); 
    cols = [r[0] for r in await c.fetch("select attname from pg_attribute where attrelid='registry.residents'::regclass and attnum>0 and not attisdropped order by attnum")]
    for opts in ("", "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES"):
        await c.execute(f"create table registry.copy_test (like registry.residents {opts})")
        buf.seek(0); t=time.perf_counter()
        await c.copy_to_table("copy_test", source=buf, format="binary", columns=cols)
        d=time.perf_counter()-t; print("COPY", opts[:20], f"{d:.2f}s {n/d:.0f} rows/s")
        await c.execute("drop table registry.copy_test")
    await c.close()
