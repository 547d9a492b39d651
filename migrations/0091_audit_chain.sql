-- The chain of the trail: each row has its place and a hash over the row and the
-- hash before it, given by the sealer moments after the row was committed.
ALTER TABLE audit ADD COLUMN seq BIGINT;
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX audit_seq ON audit (seq) WHERE seq IS NOT NULL;
CREATE INDEX audit_unsealed ON audit (at) WHERE seq IS NULL;

-- The end of the chain. seal is the same, sealed: without the sealing key nobody
-- writes another end.
CREATE TABLE audit_head (
    id   TEXT PRIMARY KEY,
    seq  BIGINT NOT NULL,
    hash TEXT NOT NULL,
    seal TEXT NOT NULL
);

-- Places of rows that were removed because their time was over. seal says that
-- it was Beffroi who removed them.
CREATE TABLE audit_link (
    seq  BIGINT PRIMARY KEY,
    hash TEXT NOT NULL,
    seal TEXT NOT NULL
);
