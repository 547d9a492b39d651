-- The page of connected applications finds the tokens of an authorization.
CREATE INDEX oidc_token_grant ON oidc_token (grant_id, created) WHERE grant_id IS NOT NULL;

-- With which account a sign-in goes on, where the application wants the person
-- to choose (prompt=select_account): the session's public id, or "other".
ALTER TABLE signin_flow ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
