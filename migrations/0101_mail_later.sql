-- due: a message of the outbox that is to leave at a time of its own, 0 for the others.
ALTER TABLE mail_outbox ADD COLUMN due BIGINT NOT NULL DEFAULT 0;
-- Messages that wait out of sight, in a mailbox of their own (box, validity, uid),
-- to come back to target when they are due. lease: not tried again before.
CREATE TABLE mail_snooze (
    person   TEXT NOT NULL,
    box      TEXT NOT NULL,
    validity BIGINT NOT NULL,
    uid      BIGINT NOT NULL,
    target   TEXT NOT NULL,
    due      BIGINT NOT NULL,
    lease    BIGINT NOT NULL,
    PRIMARY KEY (person, box, validity, uid)
);
CREATE INDEX mail_snooze_due ON mail_snooze (due);
CREATE INDEX mail_outbox_due ON mail_outbox (person, due);
