-- Takes away what 0001_baseline.sql makes. The schema itself stays, with Alembic's table of versions.

DROP TABLE
    {schema}.sunset, {schema}.purges, {schema}.legal_holds, {schema}.retention_periods, {schema}.proposals,
    {schema}.audit_heads, {schema}.audit_sealed, {schema}.audit_seals, {schema}.audit, {schema}.uploads, {schema}.jobs,
    {schema}.idempotency, {schema}.data_keys, {schema}.feed_parked, {schema}.feed_held, {schema}.feed_cursors,
    {schema}.feed_floor, {schema}.feed_epochs, {schema}.feed;

DROP FUNCTION
    {schema}.purge_audit, {schema}.drop_audit, {schema}.is_audit_kept, {schema}.purge_jobs, {schema}.count_purged,
    {schema}.retention_cutoff, {schema}.is_held, {schema}.keep_audit_partitions, {schema}.keep_partitions,
    {schema}.audit_about;
