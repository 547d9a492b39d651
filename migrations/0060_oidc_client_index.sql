-- Applications that register themselves come and go: what was issued to one, and
-- what people allowed it, is found without reading everybody's.
CREATE INDEX oidc_grant_client ON oidc_grant (client);
CREATE INDEX oidc_token_client ON oidc_token (client);
CREATE INDEX oidc_consent_client ON oidc_consent (client);
