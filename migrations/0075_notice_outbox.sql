-- Messages of the provider to people, until they are sent. message is the whole
-- text, sealed: it holds links that do something. What was sent keeps its row
-- for a while, without the text, so that the same news is not told twice.
CREATE TABLE notice_outbox (
    id      TEXT PRIMARY KEY,
    person  TEXT NOT NULL,
    topic   TEXT NOT NULL,
    message TEXT NOT NULL,
    created BIGINT NOT NULL,
    next    BIGINT NOT NULL,
    tries   BIGINT NOT NULL,
    sent    BIGINT,
    error   TEXT NOT NULL
);
CREATE INDEX notice_outbox_next ON notice_outbox (next) WHERE sent IS NULL;
CREATE INDEX notice_outbox_topic ON notice_outbox (person, topic, created);
