-- By which login the mail server knows a person who has had a token for it:
-- when it must close their connections, the directory may know them no more.
CREATE TABLE oidc_mailbox (
    person TEXT PRIMARY KEY,
    login  TEXT NOT NULL,
    noted  BIGINT NOT NULL
);
CREATE INDEX oidc_mailbox_noted ON oidc_mailbox (noted);
