-- What codes that people write down are hashed with: random, sealed, made once.
-- Not the sealing key itself, so that a new sealing key leaves the codes good.
CREATE TABLE mfa_pepper (
    id     TEXT PRIMARY KEY,
    secret TEXT NOT NULL
);

-- One set of recovery codes per person. Noted: when the person said that they
-- are written down.
CREATE TABLE mfa_recovery (
    person  TEXT PRIMARY KEY,
    id      TEXT NOT NULL,
    created BIGINT NOT NULL,
    noted   BIGINT,
    used    BIGINT
);
CREATE TABLE mfa_recovery_code (
    person TEXT NOT NULL,
    hash   TEXT NOT NULL,
    used   BIGINT,
    PRIMARY KEY (person, hash)
);

-- The code of the printed card that locks the account. It opens nothing.
CREATE TABLE mfa_lockcard (
    person  TEXT PRIMARY KEY,
    hash    TEXT NOT NULL UNIQUE,
    created BIGINT NOT NULL
);
