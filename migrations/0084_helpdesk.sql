-- The three words that a person reads to the helpdesk, sealed, good once and for
-- a few minutes.
CREATE TABLE helpdesk_phrase (
    person  TEXT PRIMARY KEY,
    phrase  TEXT NOT NULL,
    created BIGINT NOT NULL,
    ends    BIGINT NOT NULL,
    tries   BIGINT NOT NULL
);
CREATE INDEX helpdesk_phrase_ends ON helpdesk_phrase (ends);

-- Which caller a helper has verified, how and when.
CREATE TABLE helpdesk_verified (
    helper TEXT NOT NULL,
    person TEXT NOT NULL,
    way    TEXT NOT NULL,
    remark TEXT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (helper, person)
);
CREATE INDEX helpdesk_verified_at ON helpdesk_verified (at);

-- Wrong phrases and codes of one helper, counted whatever becomes of the request.
CREATE TABLE helpdesk_guess (
    helper TEXT PRIMARY KEY,
    count  BIGINT NOT NULL,
    since  BIGINT NOT NULL
);

-- What one helper has asked and a second person must agree to.
CREATE TABLE helpdesk_request (
    id           TEXT PRIMARY KEY,
    action       TEXT NOT NULL,
    person       TEXT NOT NULL,
    person_name  TEXT NOT NULL,
    what         TEXT NOT NULL, -- the rest of the order, as JSON
    reason       TEXT NOT NULL,
    verified     TEXT NOT NULL,
    asker        TEXT NOT NULL,
    asker_name   TEXT NOT NULL,
    application  TEXT NOT NULL, -- that asked; empty at the desk
    created      BIGINT NOT NULL,
    ends         BIGINT NOT NULL,
    state        TEXT NOT NULL, -- "open", "done" or "refused"
    decider      TEXT NOT NULL,
    decider_name TEXT NOT NULL,
    decided      BIGINT,
    answer       TEXT NOT NULL
);
CREATE INDEX helpdesk_request_open ON helpdesk_request (state, ends);
CREATE INDEX helpdesk_request_person ON helpdesk_request (person, created);
