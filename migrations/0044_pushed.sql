-- Pushed authorization requests (RFC 9126), for the seconds until the browser
-- comes. id is the hash of the reference; form is what any authorization
-- request says openly in an address: no secret of the client.
CREATE TABLE oidc_pushed (
    id     TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    form   TEXT NOT NULL,
    ends   BIGINT NOT NULL
);
CREATE INDEX oidc_pushed_ends ON oidc_pushed (ends);
