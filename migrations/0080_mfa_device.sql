-- Browsers that proved a second factor and were trusted. The cookie holds the
-- id and a secret that changes with each use; previous is the one before, for
-- tabs that were sent at the same moment. Proven: when the factor was given.
CREATE TABLE mfa_device (
    id       TEXT PRIMARY KEY,
    person   TEXT NOT NULL,
    hash     TEXT NOT NULL,
    previous TEXT NOT NULL,
    agent    TEXT NOT NULL,
    address  TEXT NOT NULL,
    proven   BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    used     BIGINT NOT NULL,
    ends     BIGINT NOT NULL
);
CREATE INDEX mfa_device_person ON mfa_device (person);
CREATE INDEX mfa_device_ends ON mfa_device (ends);
