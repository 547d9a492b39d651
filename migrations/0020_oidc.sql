-- What the OpenID provider keeps. Codes and tokens rest as SHA-256 hashes only.

-- Signing keys, sealed. (alg, serial) is unique so that replicas starting
-- together agree on one key.
CREATE TABLE oidc_key (
    kid     TEXT PRIMARY KEY,
    alg     TEXT NOT NULL,
    serial  BIGINT NOT NULL,
    sealed  TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX oidc_key_serial ON oidc_key (alg, serial);

-- Applications registered by command; those of the configuration file are not here.
CREATE TABLE oidc_client (
    id       TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    secrets  TEXT NOT NULL,
    created  BIGINT NOT NULL,
    changed  BIGINT NOT NULL
);

-- One authorization: what a person allowed one application at one sign-in. Its
-- id is the hash of the code. Ending it ends every token that came of it.
CREATE TABLE oidc_grant (
    id           TEXT PRIMARY KEY,
    client       TEXT NOT NULL,
    person       TEXT NOT NULL,
    sid          TEXT NOT NULL,
    offline      BOOLEAN NOT NULL,
    scope        TEXT NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    auth_time    BIGINT NOT NULL,
    nonce        TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge    TEXT NOT NULL,
    created      BIGINT NOT NULL,
    code_ends    BIGINT NOT NULL,
    ends         BIGINT NOT NULL,
    ended        BIGINT
);
CREATE INDEX oidc_grant_person ON oidc_grant (person);
CREATE INDEX oidc_grant_ends ON oidc_grant (ends);

-- One issue of tokens: an access token and, where allowed, its refresh token.
-- parent is the hash of the refresh token it was made of: a refresh token is
-- used when it has a child, so that rotation is one INSERT.
CREATE TABLE oidc_token (
    access_hash  TEXT PRIMARY KEY,
    grant_id     TEXT,
    origin       TEXT NOT NULL,
    client       TEXT NOT NULL,
    scope        TEXT NOT NULL,
    audience     TEXT NOT NULL,
    actors       TEXT NOT NULL,
    created      BIGINT NOT NULL,
    access_ends  BIGINT NOT NULL,
    refresh_hash TEXT,
    refresh_ends BIGINT,
    parent       TEXT,
    ends         BIGINT NOT NULL
);
CREATE UNIQUE INDEX oidc_token_refresh ON oidc_token (refresh_hash) WHERE refresh_hash IS NOT NULL;
CREATE UNIQUE INDEX oidc_token_code ON oidc_token (grant_id) WHERE origin = 'code';
CREATE INDEX oidc_token_parent ON oidc_token (parent) WHERE parent IS NOT NULL;
CREATE INDEX oidc_token_ends ON oidc_token (ends);
