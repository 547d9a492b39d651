-- The claims that an authorization asked for by name (OpenID Connect Core §5.5), as JSON; '' for none.
ALTER TABLE oidc_grant ADD COLUMN claims TEXT NOT NULL DEFAULT '';
