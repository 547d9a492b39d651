-- The secret before the present one, while it goes on, and how old the present
-- one is (NULL: as old as the application).
ALTER TABLE oidc_client ADD COLUMN former TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_client ADD COLUMN former_ends BIGINT;
ALTER TABLE oidc_client ADD COLUMN secret_made BIGINT;
