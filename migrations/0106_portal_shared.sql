-- Sessions of computers that several people use: seen is when its person last did
-- something (microseconds since 1970); soon after, the session is over.
CREATE TABLE portal_shared (
    sid  TEXT PRIMARY KEY,
    seen BIGINT NOT NULL
);
