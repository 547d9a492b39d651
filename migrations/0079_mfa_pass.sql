-- Temporary access passes: one per person. Uses counts how often it was taken,
-- once and enrol_only are 0 or 1.
CREATE TABLE mfa_pass (
    person     TEXT PRIMARY KEY,
    id         TEXT NOT NULL,
    hash       TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    once       BIGINT NOT NULL,
    enrol_only BIGINT NOT NULL,
    uses       BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    used       BIGINT,
    ends       BIGINT NOT NULL
);
CREATE INDEX mfa_pass_ends ON mfa_pass (ends);
