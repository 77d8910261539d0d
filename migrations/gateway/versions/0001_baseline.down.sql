-- Takes away what 0001_baseline.sql makes. Functions go last, because triggers of tables call some of them.

DROP TABLE
    gateway.guardianships, gateway.parties, gateway.issuer_keys, gateway.endings, gateway.device_authorizations,
    gateway.refresh_tokens, gateway.authorization_codes, gateway.sessions, gateway.interactions, gateway.assertions,
    gateway.clients, gateway.grants, gateway.challenges, gateway.phone_codes, gateway.devices, gateway.attempts,
    gateway.links, gateway.recovery_codes, gateway.accounts, gateway.webhook_deliveries, gateway.webhook_cursors,
    gateway.webhook_endpoints, gateway.installation, gateway.messages, gateway.hook_sources, gateway.visits_sealed,
    gateway.visit_seals, gateway.visits, gateway.points, gateway.code_changes, gateway.facts, gateway.codes,
    gateway.policies;

DROP FUNCTION
    gateway.purge_messages, gateway.purge_code_changes, gateway.purge_visits, gateway.drop_empty_visits,
    gateway.follow_hook_source, gateway.follow_client, gateway.follow_party, gateway.begin_epoch_of_visits;
