-- Second factors. Secrets are sealed with a purpose that names the person.
CREATE TABLE mfa_factor (
    id        TEXT PRIMARY KEY,
    person    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    secret    TEXT NOT NULL,
    last_step BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    used      BIGINT
);
CREATE INDEX mfa_factor_person ON mfa_factor (person);

-- A secret that was shown and not yet proven. One per attempt: a secret seen in
-- one browser never becomes the factor of another.
CREATE TABLE mfa_pending (
    person  TEXT NOT NULL,
    attempt TEXT NOT NULL,
    secret  TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (person, attempt)
);
CREATE INDEX mfa_pending_created ON mfa_pending (created);
