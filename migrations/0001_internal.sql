-- What the plumbing keeps: sessions of both sites, and the audit trail.
CREATE TABLE session (
    secret_hash TEXT PRIMARY KEY,
    site        TEXT NOT NULL,
    sid         TEXT NOT NULL,
    person      TEXT NOT NULL,
    data        TEXT NOT NULL,
    created     BIGINT NOT NULL,
    seen        BIGINT NOT NULL,
    ends        BIGINT NOT NULL,
    version     BIGINT NOT NULL
);
CREATE INDEX session_person ON session (site, person);
CREATE UNIQUE INDEX session_sid ON session (site, sid);
CREATE INDEX session_ends ON session (ends);

CREATE TABLE audit (
    id          TEXT PRIMARY KEY,
    at          BIGINT NOT NULL,
    actor_kind  TEXT NOT NULL,
    actor       TEXT NOT NULL,
    actor_name  TEXT NOT NULL,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    application TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    detail      TEXT NOT NULL,
    address     TEXT NOT NULL,
    agent       TEXT NOT NULL,
    request     TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_target ON audit (target, at);
