-- What a person keeps for the webmail: labels, signatures and the like. kind says
-- which, id names one among them, value is sealed JSON.
CREATE TABLE mail_item (
    person   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    position BIGINT NOT NULL,
    value    TEXT NOT NULL,
    changed  BIGINT NOT NULL,
    PRIMARY KEY (person, kind, id)
);
