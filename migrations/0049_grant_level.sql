-- How surely the person of an authorization was known (signin.Level). Its acr is
-- how the application spells it, which may say less. 0: read it from the acr.
ALTER TABLE oidc_grant ADD COLUMN level BIGINT NOT NULL DEFAULT 0;
