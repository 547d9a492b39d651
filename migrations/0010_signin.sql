-- One attempt to sign in, from an application's request to its answer. browser
-- and proof are hashes of two parts of the flow's cookie: who asked, and who
-- proved the password.
CREATE TABLE signin_flow (
    id          TEXT PRIMARY KEY,
    browser     TEXT NOT NULL,
    protocol    TEXT NOT NULL,
    application TEXT NOT NULL,
    raw         BYTEA NOT NULL,
    login_hint  TEXT NOT NULL,
    locales     TEXT NOT NULL,
    prompt      TEXT NOT NULL,
    max_age     BIGINT,
    assurance   BIGINT NOT NULL,
    received    BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    person      TEXT NOT NULL,
    password_at BIGINT,
    proof       TEXT NOT NULL
);
CREATE INDEX signin_flow_expires ON signin_flow (expires);
CREATE INDEX signin_flow_person ON signin_flow (person) WHERE person <> '';

-- Wrong guesses by person and kind, and by address. Strangers' names and
-- addresses are counted in a fixed number of buckets, so that nobody fills it.
CREATE TABLE signin_guess (
    key    TEXT PRIMARY KEY,
    count  BIGINT NOT NULL,
    since  BIGINT NOT NULL,
    latest BIGINT NOT NULL
);
CREATE INDEX signin_guess_latest ON signin_guess (latest);

-- The last sign-out everywhere or reset: what was proven before counts no more.
CREATE TABLE signin_ended (
    person TEXT PRIMARY KEY,
    ended  BIGINT NOT NULL
);
