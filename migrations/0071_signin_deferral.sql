-- Who was first asked for a factor that a rule will require, when, and how often
-- they put it off since.
CREATE TABLE signin_deferral (
    person TEXT NOT NULL,
    rule   TEXT NOT NULL,
    first  BIGINT NOT NULL,
    count  BIGINT NOT NULL,
    PRIMARY KEY (person, rule)
);
