-- The academy's OTP keys: an inventory that outlives whoever holds one. The
-- seed and the PIN are sealed with a purpose that names the serial; a retired
-- key keeps its row and loses its seed.
CREATE TABLE mfa_key (
    serial      TEXT PRIMARY KEY,
    algorithm   TEXT NOT NULL,
    hash        TEXT NOT NULL,
    digits      BIGINT NOT NULL,
    period      BIGINT NOT NULL,
    seed        TEXT NOT NULL,
    next        BIGINT NOT NULL, -- the lowest counter or time step that is still good
    drift       BIGINT NOT NULL, -- of a TOTP key, in steps
    ahead       BIGINT NOT NULL, -- where a code was found beyond the window; the one behind it resynchronises
    ahead_until BIGINT,
    state       TEXT NOT NULL,
    school      TEXT NOT NULL,
    person      TEXT NOT NULL,
    holder      TEXT NOT NULL,   -- the person's name when the key was given, for lists and receipts
    ends        BIGINT,          -- of a loan
    pin         TEXT NOT NULL,
    model       TEXT NOT NULL,
    lot         TEXT NOT NULL,
    created     BIGINT NOT NULL,
    changed     BIGINT NOT NULL,
    handed      BIGINT,
    activated   BIGINT,
    used        BIGINT
);
CREATE INDEX mfa_key_person ON mfa_key (person);
CREATE INDEX mfa_key_school ON mfa_key (school, state, serial);
CREATE INDEX mfa_key_lot ON mfa_key (lot);

-- The time steps that were typed lately: a key that is set back by
-- resynchronising does not make them good again.
CREATE TABLE mfa_key_spent (
    serial TEXT NOT NULL,
    step   BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (serial, step)
);
CREATE INDEX mfa_key_spent_at ON mfa_key_spent (at);

-- The life of a key, kept as long as the key: the audit trail is shorter.
CREATE TABLE mfa_key_event (
    id     TEXT PRIMARY KEY,
    serial TEXT NOT NULL,
    at     BIGINT NOT NULL,
    step   TEXT NOT NULL,
    state  TEXT NOT NULL, -- after the step
    actor  TEXT NOT NULL,
    author TEXT NOT NULL, -- the actor's name
    school TEXT NOT NULL,
    person TEXT NOT NULL,
    holder TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX mfa_key_event_serial ON mfa_key_event (serial, at);
