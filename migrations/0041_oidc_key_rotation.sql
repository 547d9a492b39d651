-- Rotation of signing keys: from when a key signs (it is published before), and
-- when an operator took it back. What state a key is in follows from the clock.
ALTER TABLE oidc_key ADD COLUMN signs BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oidc_key ADD COLUMN retired BIGINT;
UPDATE oidc_key SET signs = created;
