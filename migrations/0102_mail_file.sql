-- Files that are too large for a message: a link leads to them until they end.
-- about is sealed JSON (name, type, token, whose, code); token is the SHA-256 of
-- what stands in the link. state: receiving (received bytes are kept), checking
-- (the virus scanner looks), ready, refused. wrong counts codes that were none.
CREATE TABLE mail_file (
    id        TEXT PRIMARY KEY,
    person    TEXT NOT NULL,
    state     TEXT NOT NULL,
    token     TEXT NOT NULL,
    about     TEXT NOT NULL,
    size      BIGINT NOT NULL,
    received  BIGINT NOT NULL,
    downloads BIGINT NOT NULL,
    wrong     BIGINT NOT NULL,
    unlocks   BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    ends      BIGINT NOT NULL
);
CREATE INDEX mail_file_person ON mail_file (person, created);
CREATE UNIQUE INDEX mail_file_token ON mail_file (token);
CREATE INDEX mail_file_ends ON mail_file (ends);
