-- The audiences that an authorization named by resource (RFC 8707), separated by spaces; '' for none.
ALTER TABLE oidc_grant ADD COLUMN resources TEXT NOT NULL DEFAULT '';
