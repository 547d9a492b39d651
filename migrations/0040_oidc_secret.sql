-- What the provider needs to remember for good, sealed: the salt of pairwise
-- subjects. The name is unique so that replicas starting together agree.
CREATE TABLE oidc_secret (
    name    TEXT PRIMARY KEY,
    sealed  TEXT NOT NULL,
    created BIGINT NOT NULL
);
