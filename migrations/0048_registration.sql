-- Applications that registered themselves (RFC 7591): the hash of the token by
-- which they manage their registration, by which invitation, what they may
-- register, and when they end.
ALTER TABLE oidc_client ADD COLUMN registration TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_client ADD COLUMN invite TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_client ADD COLUMN policy TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_client ADD COLUMN ends BIGINT;

-- Invitations: initial access tokens, at rest as hashes.
CREATE TABLE oidc_invite (
    id      TEXT PRIMARY KEY,
    hash    TEXT NOT NULL UNIQUE,
    note    TEXT NOT NULL,
    policy  TEXT NOT NULL,
    uses    BIGINT NOT NULL,
    used    BIGINT NOT NULL,
    maker   TEXT NOT NULL,
    created BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);
