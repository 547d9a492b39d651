-- Which messages belong together, over all mailboxes of a person. Messages are
-- named by UID, Message-IDs by a part of their SHA-256: nothing that anybody
-- wrote is here, and all of it can be read again from the mail server.
-- mail_followed says how far a mailbox was read: UIDs from low to high. One
-- process at a time reads on (checked).
CREATE TABLE mail_followed (
    person   TEXT NOT NULL,
    box      TEXT NOT NULL,
    validity BIGINT NOT NULL,
    low      BIGINT NOT NULL,
    high     BIGINT NOT NULL,
    checked  BIGINT NOT NULL,
    PRIMARY KEY (person, box)
);
CREATE INDEX mail_followed_checked ON mail_followed (checked);
-- own is the message's own Message-ID, conversation what it belongs to.
CREATE TABLE mail_message (
    person       TEXT NOT NULL,
    box          TEXT NOT NULL,
    uid          BIGINT NOT NULL,
    own          TEXT NOT NULL,
    conversation TEXT NOT NULL,
    received     BIGINT NOT NULL,
    PRIMARY KEY (person, box, uid)
);
CREATE INDEX mail_message_conversation ON mail_message (person, conversation);
-- Every Message-ID that a message bears or answers.
CREATE TABLE mail_message_id (
    person       TEXT NOT NULL,
    id           TEXT NOT NULL,
    conversation TEXT NOT NULL,
    PRIMARY KEY (person, id)
);
CREATE INDEX mail_message_id_conversation ON mail_message_id (person, conversation);
