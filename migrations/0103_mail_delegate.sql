-- Who may write in whose name: delegate may send messages that come from owner.
-- about is sealed JSON (names and addresses of both). Both are subjects.
CREATE TABLE mail_delegate (
    owner    TEXT NOT NULL,
    delegate TEXT NOT NULL,
    about    TEXT NOT NULL,
    created  BIGINT NOT NULL,
    PRIMARY KEY (owner, delegate)
);
CREATE INDEX mail_delegate_delegate ON mail_delegate (delegate);
