-- Whose remote pictures a person has shown without asking: an address, or "@" and
-- a domain, in lower case.
CREATE TABLE mail_pictures (
    person  TEXT NOT NULL,
    sender  TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (person, sender)
);
