-- Messages sent whose writer wants to hear when no answer came. about is sealed JSON
-- (Message-ID, subject, recipients); due and lease are microseconds since 1970.
CREATE TABLE mail_reminder (
    person TEXT NOT NULL,
    id     TEXT NOT NULL,
    about  TEXT NOT NULL,
    sent   BIGINT NOT NULL,
    due    BIGINT NOT NULL,
    lease  BIGINT NOT NULL,
    PRIMARY KEY (person, id)
);
CREATE INDEX mail_reminder_due ON mail_reminder (due);
