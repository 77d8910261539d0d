"""The tables that a sunset empties, and those that stay with the reason. Every table is in one of the two lists.

An emptied table has a condition for the rows that stay: `$1` is the list of people under a legal hold. The order
follows the references between the tables. `{s}` is the schema.
"""

from collections.abc import Mapping

from shared.core.settings import Service

NOTHING = "false"
AFTER_THE_FLOOR = "(one.epoch, one.xid, one.seq) > (SELECT epoch, xid, seq FROM {s}.feed_floor)"
OF_THE_HELD = "one.resident_id = ANY($1::uuid[])"
BOTH_HELD = "one.guardian_id = ANY($1::uuid[]) AND one.dependant_id = ANY($1::uuid[])"
SELF_HELD = "one.id = ANY($1::uuid[])"
ACCOUNT = "(account.kind <> 'resident' OR account.resident_id = ANY($1::uuid[]))"
OF_AN_ACCOUNT = f"EXISTS (SELECT FROM gateway.accounts AS account WHERE account.id = one.account_id AND {ACCOUNT})"

OF_EVERY_SERVICE = {
    "uploads": NOTHING,
    "idempotency": NOTHING,
    "feed_parked": NOTHING,
    "feed_held": NOTHING,
    "feed": AFTER_THE_FLOOR,
    "jobs": "one.kind IN ('reseal', 'reindex')",
    "legal_holds": "one.until > now() AND one.resident_id = ANY($1::uuid[])",
}

GOES: Mapping[Service, Mapping[str, str]] = {
    "registry": {
        "import_errors": NOTHING,
        **OF_EVERY_SERVICE,
        "reveals": NOTHING,
        "proxies": BOTH_HELD,
        "registrations": OF_THE_HELD,
        "transfers": OF_THE_HELD,
        "resident_history": OF_THE_HELD,
        "holds": "one.released_at IS NULL AND one.until > now() AND one.resident_id = ANY($1::uuid[])",
        "residents": SELF_HELD,
    },
    "testing": {
        **OF_EVERY_SERVICE,
        "people": SELF_HELD,
        "observed": OF_THE_HELD,
        "campaign_people": OF_THE_HELD,
        "refused_samples": OF_THE_HELD,
        "retests": OF_THE_HELD,
        "samples": OF_THE_HELD,
        "results": "EXISTS (SELECT FROM testing.samples WHERE samples.tube_id = one.tube_id) OR EXISTS "
        "(SELECT FROM testing.retests WHERE one.tube_id IN (retests.pool_id, retests.tube_id))",
        "tubes": "EXISTS (SELECT FROM testing.samples WHERE samples.tube_id = one.id) OR EXISTS "
        "(SELECT FROM testing.retests WHERE one.id IN (retests.pool_id, retests.tube_id))",
    },
    "observation": {
        **OF_EVERY_SERVICE,
        "people": SELF_HELD,
        "findings": OF_THE_HELD,
        "fevers": "EXISTS (SELECT FROM observation.referrals WHERE referrals.id = one.referral_id "
        "AND referrals.resident_id = ANY($1::uuid[]))",
        "referrals": OF_THE_HELD,
        "orders": OF_THE_HELD,
        "messages": NOTHING,
    },
    "gateway": {
        **OF_EVERY_SERVICE,
        "codes": OF_THE_HELD,
        "facts": OF_THE_HELD,
        "code_changes": OF_THE_HELD,
        "visits": OF_THE_HELD,
        "visit_seals": "EXISTS (SELECT FROM gateway.visits AS visit "
        "WHERE (visit.epoch, visit.xid) > (one.after_epoch, one.after_xid) "
        "AND (visit.epoch, visit.xid) <= (one.epoch, one.xid))",
        "messages": NOTHING,
        "webhook_deliveries": NOTHING,
        "guardianships": BOTH_HELD,
        "phone_codes": NOTHING,
        "challenges": NOTHING,
        "interactions": NOTHING,
        "authorization_codes": NOTHING,
        "device_authorizations": NOTHING,
        "attempts": NOTHING,
        "devices": OF_AN_ACCOUNT,
        "refresh_tokens": "EXISTS (SELECT FROM gateway.sessions JOIN gateway.accounts AS account "
        f"ON account.id = sessions.account_id WHERE sessions.id = one.session_id AND {ACCOUNT})",
        "sessions": OF_AN_ACCOUNT,
        "accounts": ACCOUNT.replace("account.", "one."),
    },
}

ACCOUNTABLE = "who did what and on whose decision; no name, number, phone or address"
ROUNDS = "rounds, tubes and boxes as figures; nobody is in them"
RULES = "the rules and places of the time; nobody is in them"
STAFF = "those who work here, and the machines, until they are closed"
MACHINERY = "how the system works; nobody is in it"

OF_EVERY_SERVICE_STAYS = {
    **dict.fromkeys(("audit", "audit_seals", "audit_heads", "audit_sealed", "proposals", "purges"), ACCOUNTABLE),
    **dict.fromkeys(("feed_cursors", "feed_epochs", "feed_floor", "data_keys", "alembic_version"), MACHINERY),
    **dict.fromkeys(("retention_periods", "sunset"), RULES),
}
STAYS: Mapping[Service, Mapping[str, str]] = {
    "registry": {**OF_EVERY_SERVICE_STAYS, "regions": RULES, "birthdays": MACHINERY},
    "testing": {
        **OF_EVERY_SERVICE_STAYS,
        **dict.fromkeys(("campaigns", "boxes", "rolls", "tube_serials", "laboratories"), ROUNDS),
    },
    "observation": {**OF_EVERY_SERVICE_STAYS, "protocols": RULES},
    "gateway": {
        **OF_EVERY_SERVICE_STAYS,
        **dict.fromkeys(("policies", "points"), RULES),
        **dict.fromkeys(("recovery_codes", "links", "grants", "clients", "hook_sources", "parties"), STAFF),
        **dict.fromkeys(("webhook_endpoints", "webhook_cursors"), STAFF),
        **dict.fromkeys(("assertions", "endings", "issuer_keys", "installation", "visits_sealed"), MACHINERY),
    },
}

WHY_ZH = {
    ACCOUNTABLE: "谁依据什么决定做了什么；不含姓名、证件号码、电话、住址",
    ROUNDS: "检测轮次、试管、转运箱的数字；不涉及任何人",
    RULES: "当时的规则和场所；不涉及任何人",
    STAFF: "工作人员和对接系统的账户，直至注销",
    MACHINERY: "系统自身运行所需；不涉及任何人",
}
