-- Passkeys (WebAuthn). record is the credential exactly as the library keeps
-- it: its flags and counter are compared at every use. A credential belongs to
-- one person, whoever tries to register it again.
CREATE TABLE mfa_passkey (
    id         TEXT PRIMARY KEY,
    person     TEXT NOT NULL,
    credential TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    aaguid     TEXT NOT NULL,
    attested   BOOLEAN NOT NULL,
    counter    BIGINT NOT NULL,
    record     TEXT NOT NULL,
    created    BIGINT NOT NULL,
    used       BIGINT
);
CREATE INDEX mfa_passkey_person ON mfa_passkey (person);

-- What authenticators know a person by: random, never the login, for life.
CREATE TABLE mfa_passkey_user (
    person TEXT PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE
);

-- A challenge that waits for its answer: one for each attempt and use.
CREATE TABLE mfa_passkey_challenge (
    attempt TEXT NOT NULL,
    use     TEXT NOT NULL,
    person  TEXT NOT NULL,
    session TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (attempt, use)
);
CREATE INDEX mfa_passkey_challenge_expires ON mfa_passkey_challenge (expires);
