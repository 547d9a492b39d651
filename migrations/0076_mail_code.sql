-- Codes by e-mail. mfa_mail is the one address of a person that counts: it is
-- written once a code that went there came back. A code on its way belongs to a
-- person, a purpose and an attempt, of which each has one; address is where it
-- went, factor the mfa_mail.id it stands for, empty when the address is new.
CREATE TABLE mfa_mail (
    person  TEXT PRIMARY KEY,
    id      TEXT NOT NULL,
    address TEXT NOT NULL,
    created BIGINT NOT NULL,
    used    BIGINT
);
CREATE TABLE mfa_mail_code (
    person  TEXT NOT NULL,
    purpose TEXT NOT NULL,
    attempt TEXT NOT NULL,
    hash    TEXT NOT NULL,
    address TEXT NOT NULL,
    factor  TEXT NOT NULL,
    tries   BIGINT NOT NULL,
    ends    BIGINT NOT NULL,
    PRIMARY KEY (person, purpose, attempt)
);
CREATE INDEX mfa_mail_code_ends ON mfa_mail_code (ends);
-- How many codes were sent since then, by hour and day of each person, network
-- and hashed address.
CREATE TABLE mfa_mail_count (
    what  TEXT PRIMARY KEY,
    since BIGINT NOT NULL,
    count BIGINT NOT NULL
);
CREATE INDEX mfa_mail_count_since ON mfa_mail_count (since);
