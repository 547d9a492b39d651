-- Links by which somebody outside gives a person files. about is sealed JSON (title,
-- token, code, whose); token is the SHA-256 of what stands in the link. A file that
-- came this way says so (mail_file.dropped) and belongs to the person.
CREATE TABLE mail_drop (
    id      TEXT PRIMARY KEY,
    person  TEXT NOT NULL,
    token   TEXT NOT NULL,
    about   TEXT NOT NULL,
    wrong   BIGINT NOT NULL,
    unlocks BIGINT NOT NULL,
    created BIGINT NOT NULL,
    ends    BIGINT NOT NULL
);
CREATE UNIQUE INDEX mail_drop_token ON mail_drop (token);
CREATE INDEX mail_drop_person ON mail_drop (person, created);
ALTER TABLE mail_file ADD COLUMN dropped TEXT NOT NULL DEFAULT '';
