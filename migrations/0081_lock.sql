-- Accounts that are locked, by the person or by a helper: nothing is issued for
-- them until the helpdesk opens them again.
CREATE TABLE signin_lock (
    person     TEXT PRIMARY KEY,
    since      BIGINT NOT NULL,
    way        TEXT NOT NULL, -- "self", "link", "card" or "helper"
    actor_kind TEXT NOT NULL,
    actor      TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    reason     TEXT NOT NULL
);
CREATE INDEX signin_lock_since ON signin_lock (since);

-- Links that are sent to a person and do one thing once. hash is of the link's
-- purpose and secret together: a link for one purpose is no link for another.
CREATE TABLE signin_link (
    hash    TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    person  TEXT NOT NULL,
    created BIGINT NOT NULL,
    ends    BIGINT NOT NULL,
    used    BIGINT
);
CREATE INDEX signin_link_person ON signin_link (person);
CREATE INDEX signin_link_ends ON signin_link (ends);
