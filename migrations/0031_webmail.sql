-- Messages on their way out. A message is written here, sealed, before the
-- submission server sees it, and leaves when its copy stands in Sent: a crash at
-- any moment repeats a step with the same Message-ID and loses nothing.
-- state: queued (not known to be accepted), sent (accepted, the copy is due),
-- failed (refused; kept for the person), done (kept empty for a day, so that
-- the same form sent twice is sent once).
CREATE TABLE mail_outbox (
    person   TEXT NOT NULL,
    id       TEXT NOT NULL,
    state    TEXT NOT NULL,
    envelope TEXT NOT NULL,
    message  TEXT NOT NULL,
    reason   TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    filings  BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    lease    BIGINT NOT NULL,
    PRIMARY KEY (person, id)
);
CREATE INDEX mail_outbox_done ON mail_outbox (state, created);
