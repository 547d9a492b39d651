-- Who must still hear that somebody has signed out: applications (OpenID
-- Connect Back-Channel Logout 1.0) and the mail server. A row is written in the
-- transaction that ends the session, and delivered by any replica.
-- sid: the session; empty for all of the person. once: the session again, so
-- that its end is told once; NULL where each end is one of its own.
-- state: pending, done (kept for a day, for once), failed (kept for people).
-- due: the next try, or until when a try may be running; NULL unless pending.
CREATE TABLE oidc_notice (
    id       TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    client   TEXT NOT NULL,
    person   TEXT NOT NULL,
    sid      TEXT NOT NULL,
    login    TEXT NOT NULL,
    once     TEXT,
    state    TEXT NOT NULL,
    due      BIGINT,
    attempts BIGINT NOT NULL,
    error    TEXT NOT NULL,
    created  BIGINT NOT NULL,
    changed  BIGINT NOT NULL
);
CREATE UNIQUE INDEX oidc_notice_once ON oidc_notice (kind, client, once);
CREATE INDEX oidc_notice_due ON oidc_notice (due) WHERE due IS NOT NULL;
CREATE INDEX oidc_notice_state ON oidc_notice (state, changed);
