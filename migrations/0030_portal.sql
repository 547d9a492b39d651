-- What a person chose in the portal: which calendars are hidden, and the like.
-- One row per choice; the value's shape belongs to the folder that the name
-- begins with ("agenda.hidden").
CREATE TABLE portal_preference (
    person  TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (person, name)
);
