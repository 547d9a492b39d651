-- For which resources a device asked (RFC 8707): their audiences, space-separated.
ALTER TABLE oidc_device ADD COLUMN resources TEXT NOT NULL DEFAULT '';
