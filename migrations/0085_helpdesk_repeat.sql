-- Answers to calls that carried an Idempotency-Key: the same call again gets the
-- same answer. status 0: being answered.
CREATE TABLE helpdesk_repeat (
    application TEXT NOT NULL,
    key         TEXT NOT NULL,
    digest      TEXT NOT NULL,
    status      BIGINT NOT NULL,
    body        TEXT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (application, key)
);
CREATE INDEX helpdesk_repeat_at ON helpdesk_repeat (at);
