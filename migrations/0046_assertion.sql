-- Assertions that were presented (RFC 7523): each is good once. id is the hash
-- of who signed and of its jti; a row goes when the assertion has expired.
CREATE TABLE oidc_assertion (
    id   TEXT PRIMARY KEY,
    ends BIGINT NOT NULL
);
CREATE INDEX oidc_assertion_ends ON oidc_assertion (ends);
