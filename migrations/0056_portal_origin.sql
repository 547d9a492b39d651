-- Which session of the provider (its sid) each portal session rests on, so that
-- the provider can end it by that name (Back-Channel Logout 1.0).
CREATE TABLE portal_origin (
    session TEXT PRIMARY KEY,
    sid     TEXT NOT NULL
);
CREATE INDEX portal_origin_sid ON portal_origin (sid);

-- Logout tokens that were obeyed: each is good once.
CREATE TABLE portal_logout_token (
    jti  TEXT PRIMARY KEY,
    ends BIGINT NOT NULL
);
