-- Files of keys on their way in. What was uploaded rests sealed, with what
-- opens it; a reader takes it with a lease, so that a restart loses nothing.
CREATE TABLE mfa_key_import (
    id      TEXT PRIMARY KEY,
    state   TEXT NOT NULL, -- reading, ready, unreadable, taken, dropped
    name    TEXT NOT NULL, -- of the file
    format  TEXT NOT NULL,
    school  TEXT NOT NULL,
    actor   TEXT NOT NULL,
    author  TEXT NOT NULL,
    upload  TEXT NOT NULL, -- sealed: the file and its secrets, then the keys that were read
    done    BIGINT NOT NULL,
    total   BIGINT NOT NULL,
    good    BIGINT NOT NULL,
    bad     BIGINT NOT NULL,
    report  TEXT NOT NULL, -- JSON: what is wrong, entry by entry
    lease   BIGINT NOT NULL,
    created BIGINT NOT NULL,
    ended   BIGINT
);
CREATE INDEX mfa_key_import_created ON mfa_key_import (created);
