-- Takes away what 0001_baseline.sql makes.

DROP TABLE
    registry.holds, registry.proxies, registry.birthdays, registry.import_errors, registry.reveals, registry.transfers,
    registry.registrations, registry.resident_history, registry.residents, registry.regions;

DROP FUNCTION
    registry.purge_holds, registry.purge_resident_history, registry.purge_transfers, registry.purge_registrations,
    registry.purge_closed_residents;
