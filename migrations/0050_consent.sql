-- What a person allowed an application to learn or do. Kept until one of them
-- takes it back; both lists are space-separated.
CREATE TABLE oidc_consent (
    person TEXT NOT NULL,
    client TEXT NOT NULL,
    scopes TEXT NOT NULL,
    claims TEXT NOT NULL,
    given  BIGINT NOT NULL,
    PRIMARY KEY (person, client)
);

-- An authorization that waits for a person's answer: the request as signin keeps
-- it, and what the sign-in proved. id is a hash; the row goes with the answer.
CREATE TABLE oidc_question (
    id        TEXT PRIMARY KEY,
    person    TEXT NOT NULL,
    sid       TEXT NOT NULL,
    raw       BYTEA NOT NULL,
    level     BIGINT NOT NULL,
    amr       TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    ends      BIGINT NOT NULL
);
CREATE INDEX oidc_question_person ON oidc_question (person);
CREATE INDEX oidc_question_ends ON oidc_question (ends);
