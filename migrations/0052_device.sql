-- How an authorization was given: 'code' by a browser at /oauth2/authorize,
-- 'device' by a person who typed a device's code. What spends one is of its kind.
ALTER TABLE oidc_grant ADD COLUMN kind TEXT NOT NULL DEFAULT 'code';

-- One device that waits for a person (RFC 8628). id is the hash of the device
-- code and becomes the id of the authorization; code is the hash of the user
-- code, shown the same sealed. person to auth_time say who typed the code, in
-- which session and proven how. wait is the time between two polls; hurried
-- tells whether the latest came too early.
CREATE TABLE oidc_device (
    id        TEXT PRIMARY KEY,
    code      TEXT NOT NULL,
    shown     TEXT NOT NULL,
    client    TEXT NOT NULL,
    scope     TEXT NOT NULL,
    address   TEXT NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    wait      BIGINT NOT NULL,
    polled    BIGINT,
    hurried   BOOLEAN NOT NULL,
    person    TEXT NOT NULL,
    sid       TEXT NOT NULL,
    level     BIGINT NOT NULL,
    amr       TEXT NOT NULL,
    auth_time BIGINT,
    decided   BIGINT,
    allowed   BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX oidc_device_code ON oidc_device (code);
CREATE INDEX oidc_device_expires ON oidc_device (expires);

-- What may be done a few times only, by whom or from where: since is the first
-- time of the window.
CREATE TABLE oidc_tally (
    key   TEXT PRIMARY KEY,
    count BIGINT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX oidc_tally_since ON oidc_tally (since);
