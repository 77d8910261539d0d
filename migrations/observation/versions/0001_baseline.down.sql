-- Takes away what 0001_baseline.sql makes. Functions go first, because one of them returns rows of a table.

DROP FUNCTION
    observation.purge_messages, observation.purge_findings, observation.purge_referrals, observation.purge_orders,
    observation.open_referral_of;

DROP TABLE
    observation.messages, observation.fevers, observation.referrals, observation.orders, observation.protocols,
    observation.findings, observation.people;
